"""The composition root: the only file that names concrete classes.

A Daemon is everything of one instance in one process. `reconciler watch` runs one with a source;
a verb that finds no daemon runs one without a source for a moment (`open_client`): it answers on the same
socket, through the same API, and only looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from reconciler import __version__
from reconciler.api.backend import Backend
from reconciler.api.client import Client
from reconciler.api.server import build_app, build_metrics_app, listen_tcp, listen_unix
from reconciler.control.database import Database
from reconciler.control.diff import changes, render_plans
from reconciler.control.garbage import GarbageCollector
from reconciler.control.loop import Loop
from reconciler.control.queue import WorkQueue
from reconciler.control.reconcile import Machine, Reconciler
from reconciler.control.store import Store
from reconciler.errors import ConflictError, HostError, ManifestError
from reconciler.manifest.problems import errors
from reconciler.manifest.reader import Reader, Reading
from reconciler.plan.environment import Node
from reconciler.plan.forecast import forecast
from reconciler.ports import Source
from reconciler.runtimes.native.about import about_host
from reconciler.runtimes.native.engine import NativeRuntime
from reconciler.runtimes.native.host import require_host
from reconciler.runtimes.native.images.exchange import PullResult
from reconciler.sources.directory import DirectorySource
from reconciler.telemetry import Telemetry

log = logging.getLogger(__name__)

DEFAULT_METRICS_ADDRESS = "127.0.0.1:9850"
_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose about an instance."""

    state_dir: Path = Path("/var/lib/reconciler")
    run_dir: Path = Path("/run/reconciler")
    paths: tuple[Path, ...] = ()  # what to watch; () watches nothing
    metrics_address: str = DEFAULT_METRICS_ADDRESS  # host:port, or "off"
    resync_seconds: float = 10.0
    pod_cidr: IPv4Network | None = None  # None: one that is free on this host

    @property
    def socket(self) -> Path:
        return self.run_dir / "api.sock"


class SystemClock:
    """The wall clock."""

    def now(self) -> float:
        return time.time()


@dataclass
class Daemon:
    """One instance, from `start` to `stop`. Containers outlive it."""

    settings: Settings
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # set when `down` took everything away
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def start(self) -> None:
        """Take the instance's lock, open the engine, serve, and begin to converge.

        Raises: HostError (not root, something not installed), ConflictError (another daemon has this instance).
        """
        settings = self.settings
        require_host()
        async with contextlib.AsyncExitStack() as stack:
            for folder in (settings.state_dir, settings.run_dir):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(_instance_lock(settings.state_dir, settings.run_dir))
            clock = SystemClock()
            self.telemetry = Telemetry()
            self.runtime = await NativeRuntime.open(
                settings.state_dir, settings.run_dir, pod_cidr=settings.pod_cidr, pulled=self._pulled
            )
            stack.push_async_callback(self.runtime.aclose)
            self.machine = _machine()
            database = Database(settings.state_dir / "state.db")
            self.store = Store(database, clock, self.runtime.instance, self.machine.node.name)
            stack.callback(self.store.close)
            self.queue = WorkQueue(clock, self.telemetry)
            self.reconciler = Reconciler(self.store, self.queue, self.runtime, clock, self.telemetry, self.machine)
            self.reconciler.hold = not settings.paths
            self.source: Source | None = DirectorySource(settings.paths) if settings.paths else None
            self.loop = Loop(
                self.source,
                self.store,
                self.queue,
                self.reconciler,
                self.runtime,
                clock,
                self.telemetry,
                resync_seconds=settings.resync_seconds,
            )
            self.telemetry.build_info.labels(__version__, platform.python_version()).set(1)
            self.telemetry.node_name.labels(self.machine.node.name).set(1)
            self._task = asyncio.create_task(self.loop.run())
            self._collector = asyncio.create_task(self._collect_garbage(clock))
            stack.push_async_callback(self._end_loop)
            backend = self._backend(clock)
            if settings.paths and settings.metrics_address != "off":
                await self._open_metrics(backend, stack)
            listener = await listen_unix(build_app(backend), settings.socket)
            stack.push_async_callback(listener.aclose)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Let go of everything; containers go on running."""
        await self._stack.aclose()

    async def wait(self) -> None:
        """Return when the instance was taken down; raise what ended the loop, should it ever end."""
        ended = asyncio.create_task(self.ended.wait())
        done, _ = await asyncio.wait({ended, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task in done and not self._task.cancelled():
            ended.cancel()
            self._task.result()
        await ended  # cancelled by `down`, which has the last of it still to remove

    async def looked(self) -> None:
        """Return once everything was looked at; raise what ended the loop, should it ever end."""
        looked = asyncio.create_task(self.loop.looked())
        await asyncio.wait({looked, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            looked.cancel()
            self._task.result()

    async def _end_loop(self) -> None:
        for task in (self._task, self._collector):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _collect_garbage(self, clock: SystemClock) -> None:
        if self.settings.paths:
            await GarbageCollector(self.runtime.images, self.store, clock, self.telemetry).run()

    async def _open_metrics(self, backend: Backend, stack: contextlib.AsyncExitStack) -> None:
        """A taken default port is no reason not to start a second instance; a chosen one is."""
        address = self.settings.metrics_address
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            raise HostError(
                f"--metrics-address {address}: expected HOST:PORT such as {DEFAULT_METRICS_ADDRESS}, or off"
            )
        try:
            listener = await listen_tcp(build_metrics_app(backend), host.strip("[]"), int(port))
        except ConflictError as e:
            if address != DEFAULT_METRICS_ADDRESS:
                raise
            log.warning("metrics: %s with --metrics-address; this instance serves none", e)
        else:
            stack.push_async_callback(listener.aclose)

    # What the API is given

    def _backend(self, clock: SystemClock) -> Backend:
        return Backend(
            store=self.store,
            runtime=self.runtime,
            containers=self.runtime,
            images=self.runtime.images,
            clock=clock,
            telemetry=self.telemetry,
            version=__version__,
            in_sync=lambda: self.loop.in_sync,
            health=self._health,
            readiness=lambda: "" if self.loop.converged else "not everything has converged yet",
            diff=self._diff,
            down=self._down,
            sync=self.loop.sync,
            info=self._info,
        )

    def _pulled(self, result: PullResult) -> None:
        self.telemetry.image_pull_seconds.observe(result.seconds)
        self.telemetry.image_pull_bytes_total.inc(result.bytes)

    def _health(self) -> str:
        if self._task.done():
            return "the control loop has ended"
        return "the garbage collection of images has ended" if self.settings.paths and self._collector.done() else ""

    def _info(self) -> Mapping[str, Any]:
        network = self.runtime.network.pod_cidr
        return {
            **about_host(),
            "name": self.machine.node.name,
            "instance": self.runtime.instance,
            "ociRuntime": self.runtime.oci_runtime,
            "podCidr": str(network),
            "stateDir": str(self.settings.state_dir),
            "runDir": str(self.settings.run_dir),
            "watches": [str(path) for path in self.settings.paths],
        }

    async def _read(self, paths: Sequence[str]) -> Reading:
        tree = await DirectorySource(tuple(Path(p) for p in paths)).load()
        reading = Reader().read({f.path: f.content for f in tree.files}, tree.unreadable)
        if wrong := errors(reading.problems):
            raise ManifestError("\n".join(str(problem) for problem in wrong), problems=wrong)
        return reading

    async def _diff(self, paths: Sequence[str]) -> Mapping[str, Any]:
        reading = await self._read(paths)
        declared = [r for kind in self.store.declared_count() for r in self.store.list(kind) if r.file]
        prune = self._declares_all(paths)
        objects = {ref: entry.object for ref, entry in reading.objects.items()}
        if not prune:
            objects = {r.ref: r.object for r in declared} | objects
        plans = forecast(
            objects,
            await self.runtime.observe(),
            uid=self.store.uid,
            node=self.machine.node,
            now=time.time(),
        )
        return {"changes": changes(declared, reading, prune=prune), "plan": render_plans(plans)}

    def _declares_all(self, paths: Sequence[str]) -> bool:
        """Whether `paths` are all that this instance is told, so that what is not in them would go."""
        watched = {os.path.realpath(path) for path in self.settings.paths}
        return not watched or watched == {os.path.realpath(path) for path in paths}

    async def _down(self, paths: Sequence[str], volumes: bool) -> AsyncIterator[str]:
        """Take down everything, or what `paths` declare; yields a line for each object that is gone."""
        refs = set((await self._read(paths)).objects) if paths else None
        if refs is not None and self.source is not None:
            raise ConflictError(
                f"{self.source.name} is watched and would start them again: take the files away, "
                "or run `reconciler down` without a path"
            )
        if refs is None:
            self.reconciler.hold = False
        await self.loop.take_down(refs)
        left = await self.loop.pods_going()
        while left:
            await asyncio.sleep(0.02)
            now = await self.loop.pods_going()
            for ref in sorted(left - now):
                yield f"removed {ref}"
            left = now
        if refs is None:
            await self._end_loop()  # a relist would make the network again that is removed now
            await self.runtime.remove_all()
            self.ended.set()


@contextlib.contextmanager
def open_client(settings: Settings) -> Iterator[Client]:
    """A client of an engine in this process, for a verb that found no daemon.

    Raises: HostError, ConflictError as `Daemon.start`.
    """
    ready = threading.Event()
    failure: list[BaseException] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        daemon = Daemon(settings)
        try:
            await daemon.start()
            try:
                await daemon.looked()
                ready.set()
                await stop.wait()
            finally:
                await daemon.stop()
        except BaseException as e:
            failure.append(e)
        finally:
            ready.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="engine", daemon=True)
    thread.start()
    ready.wait()
    try:
        if failure:
            raise failure[0]
        yield Client(settings.socket)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextlib.contextmanager
def _instance_lock(state_dir: Path, run_dir: Path) -> Iterator[None]:
    """One process per instance. Waits a moment: another verb may be at work."""
    with contextlib.ExitStack() as stack:
        for folder in (state_dir, run_dir):
            file = stack.enter_context(open(folder / "lock", "a+"))
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    file.seek(0)
                    holder = file.read().strip() or "another process"
                    if time.monotonic() > deadline:
                        raise ConflictError(
                            f"{folder} is in use by {holder}: end it, or choose another --state-dir and --run-dir",
                            reason="InstanceLocked",
                        ) from None
                    time.sleep(0.05)
            file.truncate(0)
            file.write(f"pid {os.getpid()}")
            file.flush()
        yield


def _machine() -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    node = Node(socket.gethostname(), (os.cpu_count() or 1) * 1000, memory)
    return Machine(node, _host_address())


def _host_address() -> str:
    """The address with which this host reaches others; loopback when it reaches none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only a route is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
