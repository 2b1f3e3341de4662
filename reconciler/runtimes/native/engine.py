"""The native engine: pods from kernel parts, without another engine.

Composes the ledger, the network, the image store, the OCI runtime and its monitors. Each step
writes its intent before its effect; `open` reconciles what is written with what the kernel has.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import assert_never

from reconciler.errors import HostError, TerminalError
from reconciler.model.observed import Observed
from reconciler.model.ref import Ref
from reconciler.plan import addresses, steps
from reconciler.plan.steps import Step
from reconciler.ports import Containers, ExecSession, LogLine, Runtime
from reconciler.runtimes.native import bundle, cgroups, launcher, logs, machine, oci, sessions, sweep
from reconciler.runtimes.native.actions import Actions
from reconciler.runtimes.native.border import border
from reconciler.runtimes.native.cgroups import Cgroups
from reconciler.runtimes.native.exits import Exits
from reconciler.runtimes.native.images.exchange import PullResult
from reconciler.runtimes.native.images.store import ImageStore
from reconciler.runtimes.native.ledger import HALF, Ledger, Phase
from reconciler.runtimes.native.makers import Makers
from reconciler.runtimes.native.net import survey
from reconciler.runtimes.native.net.names import Names
from reconciler.runtimes.native.net.network import Network
from reconciler.runtimes.native.observer import Observer
from reconciler.runtimes.native.oci import Oci
from reconciler.runtimes.native.places import Places
from reconciler.runtimes.native.usage import disk_bytes

_TURN_SECONDS = 5.0
_ROTATE_SECONDS = 10.0


class NativeRuntime(Runtime, Containers):
    """The pods of one instance. Made by `open`; one at a time for a state directory."""

    def __init__(
        self,
        places: Places,
        ledger: Ledger,
        network: Network,
        images: ImageStore,
        runtime: Oci,
        threads: launcher.Launcher,
        groups: Cgroups,
        host: bundle.HostFacts,
    ) -> None:
        self.images = images
        self.network = network
        self.instance = ledger.instance
        self.oci_runtime = runtime.program.name
        self._places = places
        self._ledger = ledger
        self._oci = runtime
        self._launcher = threads
        self._cgroups = groups
        self._exits = Exits(self._on_end)
        makers = Makers(places, host)
        self._observer = Observer(places, ledger, network, runtime, groups, makers, self._exits)
        self._actions = Actions(
            places, ledger, network, images, runtime, threads, groups, makers, self._exits, self._observer
        )
        self._listeners: set[asyncio.Queue[Ref]] = set()
        self._rotation: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        run_dir: Path,
        *,
        pod_cidr: IPv4Network | None = None,
        pulled: Callable[[PullResult], None] = lambda result: None,
    ) -> NativeRuntime:
        """Take up the engine of a state directory, made when there is none, and put right what a kill left.
        `pulled` is told of every image that was pulled.

        Raises: HostError that says what the machine lacks; ConflictError when the pod network is in use.
        """
        if os.geteuid() != 0:
            raise HostError("the native engine needs root: run it with sudo")
        places = Places.of(state_dir, run_dir)
        conmon = oci.find("conmon", "install it (Debian: apt install conmon)")
        async with contextlib.AsyncExitStack() as undo:
            with border("Failed"):
                places.ensure()
                launcher.share(places.run_dir)
                undo.callback(launcher.unshare, places.run_dir)
                ledger = Ledger(places.ledger)
            undo.callback(ledger.close)
            layout = cgroups.current()
            groups = Cgroups(layout, ledger.instance)
            undo.callback(groups.remove_parent)
            host = machine.facts(layout)
            program, threads = await machine.choose_runtime(layout, groups, places.run_dir, host, os.environ)
            undo.callback(threads.close)
            images = await ImageStore.open(
                places.state_dir,
                in_use=lambda: {
                    row.image_id: f"container {row.name} of pod {row.pod.namespace}/{row.pod.name}"
                    for row in ledger.containers.values()
                    if row.image_id
                },
                pulled=pulled,
            )
            undo.push_async_callback(images.aclose)
            async with _one_at_a_time():
                cidr = await asyncio.to_thread(_pod_cidr, ledger, pod_cidr)
                network = Network(ledger.instance, places.run_dir, cidr)
                undo.push_async_callback(network.aclose)
                await network.ensure()  # from here on others see that it is taken
            runtime = Oci(program, conmon, places.run_dir)
            host = replace(host, propagates=not program.hidden)
            engine = cls(places, ledger, network, images, runtime, threads, groups, host)
            await engine._take_up()
            undo.pop_all()
        return engine

    async def observe(self, ref: Ref | None = None) -> Observed:
        """Everything, or one pod. Reads the kernel, starts nothing; a few milliseconds for 50 pods."""
        with border("Unavailable"):
            return Observed(pods=self._observer.pods(ref), images=self.images.references())

    async def execute(self, step: Step) -> str:
        """Carry out one step; see ports.Runtime."""
        actions = self._actions
        match step.action:
            case steps.PullImage(image=image, logins=logins):
                result = await self.images.pull_image(image, logins)
                fetched = f"{result.bytes} bytes fetched" if result.bytes else "it was up to date"
                return f"in {result.seconds:.3g}s, {fetched}. Image size: {result.size_bytes} bytes."
            case steps.CreateSandbox() as action:
                with border("FailedCreatePodSandBox"):
                    return await actions.create_sandbox(action)
            case steps.UpdateVolume() as action:
                with border("FailedMount"):
                    return await actions.update_volume(action)
            case steps.CreateContainer() as action:
                with border("CreateContainerError"):
                    return await actions.create_container(action)
            case steps.StartContainer(id=id):
                with border("RunContainerError"):
                    return await actions.start_container(id)
            case steps.StopContainer(id=id, grace_seconds=grace_seconds):
                with border("FailedKillPod"):
                    return await actions.stop_container(id, grace_seconds)
            case steps.ResumeContainer(id=id):
                with border("RunContainerError"):
                    return actions.resume_container(id)
            case steps.RestoreLimits(id=id):
                with border("RunContainerError"):
                    return actions.restore_limits(id)
            case steps.RemoveContainer(id=id):
                with border("FailedKillPod"):
                    return await actions.remove_container(id)
            case steps.RemoveSandbox(id=id):
                with border("FailedKillPod"):
                    return await actions.remove_sandbox(id)
            case _:
                assert_never(step.action)

    async def mend(self) -> Sequence[str]:
        """See ports.Runtime."""
        with border("Unavailable"):
            flushed = not self.network.table_intact()
            await self.network.ensure()
        return ["the firewall rules of pods had been changed or flushed; they are back"] if flushed else []

    async def events(self) -> AsyncIterator[Ref]:
        """Pods of which a container, or the monitor of one, ended."""
        queue: asyncio.Queue[Ref] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def aclose(self) -> None:
        """Let go; the containers run on, and their monitors."""
        if self._rotation is not None:
            self._rotation.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rotation
        self._exits.close()
        await self.network.aclose()
        await self.images.aclose()
        await asyncio.to_thread(self._launcher.close)
        if not self._ledger.sandboxes and not self._ledger.containers:
            with border("Failed"):
                self._cgroups.remove_parent()
                launcher.unshare(self._places.run_dir)
        self._ledger.close()

    async def remove_all(self) -> None:
        """Remove every container and sandbox and all else of this instance but the images.

        After it only `aclose` makes sense, which takes the last traces: the run directory's own mount.
        """
        with border("FailedKillPod"):
            await asyncio.gather(*(self._actions.remove_container(id) for id in list(self._ledger.containers)))
            await asyncio.gather(*(self._actions.remove_sandbox(id) for id in list(self._ledger.sandboxes)))
            await asyncio.to_thread(sweep.sweep, self._places, self._ledger, self._oci, self._cgroups)
            await asyncio.to_thread(self._cgroups.remove_all)
        await self.network.remove()

    async def logs(
        self, container_id: str, *, follow: bool = False, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        """See ports.Containers."""
        self._actions.container(container_id)

        def ended() -> bool:
            row = self._ledger.containers.get(container_id)
            return row is None or row.phase is Phase.EXITED

        log = self._places.log(container_id)
        async for line in logs.read(log, follow=follow, tail=tail, since=since, ended=ended):
            yield line

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ExecSession:
        """See ports.Containers."""
        row = self._actions.container(container_id)
        if row.phase is not Phase.STARTED:
            raise TerminalError(f"container {row.name} does not run", reason="ExecFailed")
        with border("ExecFailed"):
            return await sessions.start(
                self._launcher, self._oci, self._places.bundle(row.id), row.id, command, tty=tty, stdin=stdin
            )

    async def wait_exit(self, container_id: str) -> None:
        """See ports.Containers."""
        await self._exits.wait(container_id)

    async def disk_bytes(self) -> Mapping[str, int]:
        """See ports.Containers."""
        trees = {self._places.bundle(id): id for id in self._ledger.containers}
        sizes = await asyncio.to_thread(disk_bytes, trees)
        return {trees[tree]: size for tree, size in sizes.items()}

    async def _take_up(self) -> None:
        """Make the kernel hold what the ledger says, no more; watch what runs."""
        with border("Failed"):
            await asyncio.to_thread(sweep.sweep, self._places, self._ledger, self._oci, self._cgroups)
            for row in list(self._ledger.containers.values()):
                if row.phase not in HALF:
                    self._actions.take_up(row)
        await self.network.ensure()
        await self.network.sweep({row.id for row in self._ledger.sandboxes.values() if not row.config.host_network})
        await self._actions.publish()
        self._rotation = asyncio.create_task(self._rotate(), name="log rotation")

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(_ROTATE_SECONDS)
            for row in list(self._ledger.containers.values()):
                if row.phase is Phase.STARTED:
                    with contextlib.suppress(OSError):
                        logs.rotate(self._places.log(row.id), self._places.bundle(row.id) / "ctl")

    def _on_end(self, id: str) -> None:
        row = self._actions.ended(id)
        if row is not None:
            for queue in self._listeners:
                queue.put_nowait(row.pod)


def _pod_cidr(ledger: Ledger, preferred: IPv4Network | None) -> IPv4Network:
    """The pod network, kept in the ledger. Raises: ConflictError(reason="PodCidrConflict")."""
    kept = ledger.setting("pod_cidr")
    taken = survey.host_networks(but=Names(ledger.instance).bridge)
    chosen = addresses.settle_pod_cidr(
        IPv4Network(kept) if kept else None, preferred, taken, has_pods=bool(ledger.sandboxes)
    )
    ledger.put_setting("pod_cidr", str(chosen))
    return chosen


@contextlib.asynccontextmanager
async def _one_at_a_time() -> AsyncIterator[None]:
    """Two instances that start together must not find the same network free.

    The turn is a name in the abstract socket namespace: it goes with its process, and every network namespace has
    its own. Anybody could hold it, so patience has an end.
    """
    deadline = time.monotonic() + _TURN_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as turn:
        while time.monotonic() < deadline:
            try:
                turn.bind("\0reconciler pod network")
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                await asyncio.sleep(0.01)
        yield
