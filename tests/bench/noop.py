"""What a pass with nothing to do costs, in CPU: the whole loop over the fake runtime, no container.

The pass is all that happens on a resync when nothing has changed, and more: the source is read
again, everything is observed, and every object is planned, compared and given its status.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from reconciler.control.database import Database
from reconciler.control.loop import Loop
from reconciler.control.queue import WorkQueue
from reconciler.control.reconcile import Machine, Reconciler
from reconciler.control.store import Store
from reconciler.model.observed import Observed
from reconciler.model.ref import Ref
from reconciler.plan.environment import Node
from reconciler.ports import Tree, TreeFile
from reconciler.runtimes.fake import FakeRuntime
from reconciler.telemetry import Telemetry

POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: pod-{i}}}
spec:
  containers:
    - name: main
      image: localhost/bench:1
      env: [{{name: GREETING, valueFrom: {{configMapKeyRef: {{name: settings-{i}, key: greeting}}}}}}]
      resources: {{limits: {{cpu: 500m, memory: 64Mi}}}}
"""
SETTINGS = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings-{i}}}
data: {{greeting: hello}}
"""
REPEATS = 3
CONVERGE_SECONDS = 120.0


class Clock:
    """The wall clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Unchanging:
    """A source in memory, one file an object."""

    name = "memory"

    def __init__(self, files: tuple[TreeFile, ...]) -> None:
        self._tree = Tree("r1", files)

    async def load(self) -> Tree:
        return self._tree

    async def changes(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


class Still(FakeRuntime):
    """The fake, with the index that a real runtime has: looking at one pod costs no look at all of them."""

    snapshot: Observed | None = None

    async def observe(self, ref: Ref | None = None) -> Observed:
        if self.snapshot is None:
            return await super().observe(ref)
        if ref is None:
            return self.snapshot
        pod = self.snapshot.pods.get(ref)
        return Observed({ref: pod} if pod else {}, self.snapshot.images)


def files(pods: int, config_maps: int) -> tuple[TreeFile, ...]:
    return tuple(
        TreeFile(f"{name}-{i}.yaml", text.format(i=i).encode())
        for name, text, count in (("pod", POD, pods), ("settings", SETTINGS, config_maps))
        for i in range(count)
    )


async def _measure(pods: int, config_maps: int) -> float:
    clock, telemetry = Clock(), Telemetry()
    runtime = Still(clock)
    runtime.images = {"localhost/bench:1": "sha256:1"}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Database(Path(folder) / "state.db"), clock, "bench")
        queue = WorkQueue(clock, telemetry)
        machine = Machine(Node("bench", 2000, 1 << 30), "127.0.0.1")
        reconciler = Reconciler(store, queue, runtime, clock, telemetry, machine)
        source = Unchanging(files(pods, config_maps))
        loop = Loop(source, store, queue, reconciler, runtime, clock, telemetry, resync_seconds=3600)
        task = asyncio.create_task(loop.run())
        deadline = clock.now() + CONVERGE_SECONDS
        while not loop.in_sync:
            if task.done() or clock.now() > deadline:
                raise RuntimeError(f"{pods} pods do not converge: {store.problems[:3]}")
            await asyncio.sleep(0.05)
        runtime.snapshot = await runtime.observe()
        if len(runtime.snapshot.pods) != pods:
            raise RuntimeError(f"{len(runtime.snapshot.pods)} of {pods} pods run")
        done = len(runtime.done)
        took = []
        for _ in range(REPEATS):
            began = time.process_time()
            await loop.sync()
            await loop.relist()
            for ref in runtime.snapshot.pods:
                await reconciler.work(ref)
            took.append(time.process_time() - began)
        if len(runtime.done) != done:
            raise RuntimeError("a pass over what is in sync did something")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()
    return min(took)


def cpu_seconds(pods: int, config_maps: int) -> float:
    """Pods use the ConfigMap of their number: `config_maps` is at least `pods`.

    Returns: CPU seconds of one pass over this many objects in sync. Raises: RuntimeError when the pass acts.
    """
    return asyncio.run(_measure(pods, config_maps))
