"""The foreground of `watch`: how it ends, and with what."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from reconciler.cli.watch import _watch
from reconciler.errors import ReconcilerError, TerminalError


class Held:
    def __init__(self, item) -> None:
        self._item = item

    def to_json(self):
        return self._item


class Fault:
    severity = "error"

    def __str__(self) -> str:
        return "web.yaml:7: spec: Field required"


class FakeDaemon:
    """A daemon of which a test says how it is."""

    def __init__(self, *pods) -> None:
        self.pods = list(pods)
        self.store = SimpleNamespace(
            list=lambda kind: [Held(pod) for pod in self.pods] if kind == "Pod" else [], problems=[], prune_blocked=""
        )
        self.loop = SimpleNamespace(settled=True, in_sync=True)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")

    async def wait(self) -> None:
        await self.ended

    async def stop(self) -> None:
        self.calls.append("stop")


async def watch(daemon: FakeDaemon, patience_seconds: float | None = None) -> int:
    working = _watch(daemon, "manifests/", live=False, patience_seconds=patience_seconds)  # type: ignore[arg-type]
    return await asyncio.wait_for(working, 10)


def pod(make, *, ready: bool):
    return {"kind": "Pod", **make.pod("web-0", containerStatuses=[make.container_status(ready=ready)])}


async def test_once_ends_when_all_is_ready(make) -> None:
    daemon = FakeDaemon(pod(make, ready=False))
    watching = asyncio.create_task(watch(daemon, patience_seconds=10))
    await asyncio.sleep(0.15)
    assert not watching.done()
    daemon.pods = [pod(make, ready=True)]
    assert await watching == 0
    assert daemon.calls == ["start", "stop"]


async def test_once_waits_until_everything_was_looked_at(make) -> None:
    daemon = FakeDaemon()
    daemon.loop.settled = daemon.loop.in_sync = False
    with pytest.raises(ReconcilerError, match="not converged"):
        await watch(daemon, patience_seconds=0.1)


async def test_once_says_what_is_not_ready_when_its_time_is_over(make) -> None:
    daemon = FakeDaemon(pod(make, ready=False))
    with pytest.raises(ReconcilerError, match="not ready: pod/web-0 CrashLoopBackOff 0/1"):
        await watch(daemon, patience_seconds=0.1)
    assert daemon.calls == ["start", "stop"]


async def test_once_does_not_wait_for_a_broken_file_to_mend_itself(make) -> None:
    daemon = FakeDaemon(pod(make, ready=True))
    daemon.store.problems = [Fault()]
    daemon.loop.in_sync = False
    with pytest.raises(ReconcilerError, match=r"not applied: web\.yaml:7: spec: Field required"):
        await watch(daemon, patience_seconds=3600)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_signals_end_it(number: signal.Signals, code: int) -> None:
    daemon = FakeDaemon()
    watching = asyncio.create_task(watch(daemon))
    while daemon.calls != ["start"]:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), number)
    assert await watching == code
    assert daemon.calls == ["start", "stop"]


async def test_it_ends_when_everything_was_taken_down() -> None:
    daemon = FakeDaemon()
    daemon.ended.set_result(None)
    assert await watch(daemon) == 0


async def test_what_ends_the_loop_is_told_after_letting_go() -> None:
    daemon = FakeDaemon()
    daemon.ended.set_exception(TerminalError("the disk is full"))
    with pytest.raises(TerminalError, match="the disk is full"):
        await watch(daemon)
    assert daemon.calls == ["start", "stop"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere",),
        (".", "--pod-cidr", "10.0.0.1/8"),
        (".", "--resync", "soon"),
        (".", "--resync", "0s"),
        (".", "--timeout", "-1s"),
        (),
    ],
)
def test_usage(run, arguments: tuple[str, ...]) -> None:
    result = run("watch", *arguments)
    assert result.code == 2
    assert len(result.err.splitlines()) == 2
