"""The API on a real unix socket over a real store, with containers and images that are made up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.backend import Backend
from reconciler.api.client import Client
from reconciler.api.server import Listener, build_app, listen_unix
from reconciler.control.database import Database
from reconciler.control.store import Store
from reconciler.errors import TerminalError
from reconciler.manifest.kube import Entry
from reconciler.manifest.problems import Problem
from reconciler.manifest.reader import Reading
from reconciler.model.kinds import KINDS, ref_of
from reconciler.model.observed import Observed
from reconciler.model.ref import Ref
from reconciler.plan.garbage import StoredImage
from reconciler.ports import Image, ImageDetail, LogLine, Progress
from reconciler.telemetry import Telemetry

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()
Json = dict[str, Any]


@dataclass
class FixedClock:
    at: float = NOON

    def now(self) -> float:
        return self.at


class Session:
    """A command made up by a test: `script` is what it does."""

    def __init__(self, script: Callable[[Session], Any], *, tty: bool) -> None:
        self.stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.written: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self.sizes: list[tuple[int, int]] = []
        self.killed = asyncio.Event()
        self.tty = tty
        self._task = asyncio.ensure_future(self._run(script))

    async def _run(self, script: Callable[[Session], Any]) -> int:
        try:
            return int(await script(self))
        finally:
            self.written.put_nowait(None)

    def print(self, data: bytes, channel: int = 1) -> None:
        self.written.put_nowait((channel, data))

    async def write(self, data: bytes) -> None:
        self.stdin.put_nowait(data)

    async def close_stdin(self) -> None:
        self.stdin.put_nowait(None)

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (piece := await self.written.get()) is not None:
            yield piece

    async def wait(self) -> int:
        return await self._task

    async def kill(self) -> None:
        self.killed.set()
        self._task.cancel()
        await asyncio.wait({self._task})


@dataclass
class FakeContainers:
    """Logs by container id; a line that is added later reaches those who follow."""

    lines: dict[str, list[LogLine]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    asked: list[Json] = field(default_factory=list)
    followers: int = 0
    script: Callable[[Session], Any] | None = None
    sessions: list[Session] = field(default_factory=list)

    async def add(self, container_id: str, *lines: LogLine) -> None:
        async with self.grown:
            self.lines.setdefault(container_id, []).extend(lines)
            self.grown.notify_all()

    async def end(self, container_id: str) -> None:
        async with self.grown:
            self.ended.add(container_id)
            self.grown.notify_all()

    async def logs(
        self, container_id: str, *, follow: bool = False, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        self.asked.append({"id": container_id, "follow": follow, "tail": tail, "since": since})
        if container_id not in self.lines:
            raise TerminalError(f"container {container_id} has no log", reason="NotFound")
        self.followers += 1
        try:
            sent = max(0, len(self.lines[container_id]) - tail) if tail is not None else 0
            while True:
                for line in self.lines[container_id][sent:]:
                    sent += 1
                    yield line
                if not follow or container_id in self.ended:
                    return
                async with self.grown:
                    if sent == len(self.lines[container_id]) and container_id not in self.ended:
                        await self.grown.wait()
        finally:
            self.followers -= 1

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> Session:
        self.asked.append({"id": container_id, "command": tuple(command), "tty": tty, "stdin": stdin})
        if self.script is None:
            raise TerminalError(f"exec: {command[0]!r}: executable file not found in $PATH", reason="ExecFailed")
        self.sessions.append(Session(self.script, tty=tty))
        return self.sessions[-1]

    async def wait_exit(self, container_id: str) -> None:
        raise NotImplementedError

    async def disk_bytes(self) -> dict[str, int]:
        return {"c1": 30, "c2": 12}


@dataclass
class FakeImages:
    """Remembers what was asked; `fails` ends every order."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    fails: Exception | None = None
    config: Json = field(default_factory=dict)
    on_disk: list[StoredImage] = field(default_factory=list)
    used: frozenset[str] = frozenset()

    async def list(self) -> list[Image]:
        reference = "docker.io/library/web:1"
        return [Image("sha256:aa", (reference,), "sha256:bb", NOON, 4096)]

    async def _lines(self, *asked: Any) -> AsyncIterator[str]:
        self.asked.append(asked)
        yield "one"
        if self.fails:
            raise self.fails
        yield "two"

    def load(self, archive: str, *, reference: str = "") -> AsyncIterator[str]:
        return self._lines("load", archive, reference)

    async def pull(self, reference: str, **options: Any) -> AsyncIterator[str | Progress]:
        yield Progress(1, 2)
        async for line in self._lines("pull", reference, options):
            yield line

    def push(self, reference: str, **options: Any) -> AsyncIterator[str]:
        return self._lines("push", reference, options)

    def import_root(self, archive: str, reference: str) -> AsyncIterator[str]:
        return self._lines("import", archive, reference)

    def build(self, context: str, **options: Any) -> AsyncIterator[str]:
        return self._lines("build", context, options)

    def save(self, images: Sequence[str], archive: str, *, form: str = "docker") -> AsyncIterator[str]:
        return self._lines("save", *images, archive, form)

    async def remove(self, image: str, *, force: bool = False) -> list[str]:
        self._ask("remove", image, force)
        return [f"untagged {image}"]

    async def tag(self, image: str, reference: str) -> None:
        self._ask("tag", image, reference)

    async def inspect(self, image: str) -> ImageDetail:
        self._ask("inspect", image)
        return ImageDetail((await self.list())[0], self.config, (100, 20))

    async def stored(self) -> list[StoredImage]:
        return list(self.on_disk)

    async def in_use(self) -> frozenset[str]:
        return self.used

    async def delete(self, ids: Sequence[str]) -> list[str]:
        self._ask("delete", *ids)
        return list(ids)

    async def build_cache_bytes(self) -> int:
        return 70

    async def clear_build_cache(self) -> None:
        self._ask("clear_build_cache")

    def _ask(self, *asked: Any) -> None:
        if self.fails:
            raise self.fails
        self.asked.append(asked)


@dataclass
class FakeRuntime:
    observed: Observed = field(default_factory=Observed)

    async def observe(self, ref: Ref | None = None) -> Observed:
        return self.observed


def pod(
    name: str, *containers: str, namespace: str = "default", labels: Mapping[str, str] | None = None, **spec: Any
) -> Json:
    """A manifest of a pod; its containers, by name, have the image of their name."""
    listed = [{"name": c, "image": f"docker.io/library/{c}:1"} for c in containers or ("app",)]
    metadata: Json = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": listed, **spec}}


def running(pod_name: str, *containers: str, **more: Any) -> Json:
    """The status of a pod whose containers run; their ids are `<pod>-<container>`."""
    return {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}],
        "podIP": "10.88.0.2",
        "containerStatuses": [
            {
                "name": c,
                "ready": True,
                "restartCount": 0,
                "containerID": f"reconciler://{pod_name}-{c}",
                "state": {"running": {"startedAt": "2026-11-23T11:59:00Z"}},
                "lastState": {},
            }
            for c in containers or ("app",)
        ],
        **more,
    }


@dataclass
class World:
    """All that stands behind the API, and the API."""

    store: Store
    backend: Backend
    containers: FakeContainers
    images: FakeImages
    runtime: FakeRuntime
    clock: FixedClock
    socket: Path
    declared: dict[Ref, Entry] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    faults: dict[str, str] = field(default_factory=lambda: {"health": "", "readiness": ""})
    orders: list[tuple[Any, ...]] = field(default_factory=list)
    listener: Listener | None = None
    pod = staticmethod(pod)
    running = staticmethod(running)

    def declare(self, *manifests: Json) -> None:
        for manifest in manifests:
            obj = KINDS[manifest["apiVersion"], manifest["kind"]].model_validate(manifest)
            self.declared[ref_of(obj)] = Entry(obj, "all.yaml", 1, {})
        self._apply()

    def withdraw(self, *refs: Ref) -> None:
        for ref in refs:
            del self.declared[ref]
        self._apply()

    def _apply(self) -> None:
        self.store.apply(Reading(objects=dict(self.declared), problems=self.problems, last_good={}), "r1")

    @staticmethod
    async def eventually(check: Callable[[], bool], *, within_seconds: float = 5.0) -> None:
        """Return once `check` holds. Raises: AssertionError when the time is over."""
        deadline = time.monotonic() + within_seconds
        while not check():
            assert time.monotonic() < deadline, "it did not come about in time"
            await asyncio.sleep(0.005)

    @property
    def client(self) -> Client:
        return Client(self.socket, timeout_seconds=5)

    async def get(self, path: str, **query: Any) -> Any:
        """GET through the real client, on a thread of its own."""
        return await asyncio.to_thread(self.client.get, path, **query)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FixedClock()
    store = Store(Database(Path(":memory:")), clock, "0123abcd")
    containers, images, runtime = FakeContainers(), FakeImages(), FakeRuntime()

    async def diff(paths: Sequence[str]) -> Mapping[str, Any]:
        made.orders.append(("diff", *paths))
        return {"changes": [], "plan": "nothing to do"}

    async def down(paths: Sequence[str], volumes: bool) -> AsyncIterator[str]:
        made.orders.append(("down", *paths, volumes))
        yield "removed pod default/web"

    async def sync() -> None:
        made.orders.append(("sync",))

    backend = Backend(
        store=store,
        runtime=runtime,  # type: ignore[arg-type]  # only what the API asks of it
        containers=containers,
        images=images,
        clock=clock,
        telemetry=Telemetry(),
        version="0.1.0",
        in_sync=lambda: True,
        health=lambda: made.faults["health"],
        readiness=lambda: made.faults["readiness"],
        diff=diff,
        down=down,
        sync=sync,
        info=lambda: {"name": "here", "ociRuntime": "runc"},
    )
    made = World(store, backend, containers, images, runtime, clock, tmp_path / "api.sock")
    made.listener = await listen_unix(build_app(backend), made.socket)
    yield made
    await made.listener.aclose()
    store.close()
