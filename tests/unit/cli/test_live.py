"""The live table: it draws what changed, and nothing when nothing did."""

from __future__ import annotations

import asyncio
import io
import logging
import time

import pytest
from rich.console import Console

from reconciler.cli import live
from reconciler.cli.live import LiveTable


class Held:
    def __init__(self, item) -> None:
        self._item = item

    def to_json(self):
        return self._item


class Change:
    def __init__(self, type: str, item) -> None:
        self.type, self.record = type, Held(item)


class Fault:
    severity = "error"

    def __str__(self) -> str:
        return "web.yaml:7: spec: Field required"


class World:
    """A store that a test changes."""

    revision = "0123456789abcdef"
    prune_blocked = ""
    resource_version = 7

    def __init__(self, *pods) -> None:
        self.pods = list(pods)
        self.problems: list[Fault] = []
        self.changes: asyncio.Queue[Change | None] = asyncio.Queue()

    def list(self, kind: str):
        return [Held(pod) for pod in self.pods] if kind == "Pod" else []

    def events(self):
        return []

    async def watch(self, since):
        assert since == 7, "what changes between the list and the watch would be lost"
        while (change := await self.changes.get()) is not None:
            yield change


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=110, height=24, color_system=None)


def shown(screen: Console) -> str:
    return screen.file.getvalue()


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture
def frames(monkeypatch) -> list[object]:
    """Every board that was drawn on the screen."""
    drawn: list[object] = []
    render = live.render

    def counting(of):
        drawn.append(of)
        return render(of)

    monkeypatch.setattr(live, "render", counting)
    monkeypatch.setattr(live, "FRAME_SECONDS", 0.01)
    monkeypatch.setattr(live, "TICK_SECONDS", 0.02)
    return drawn


async def test_it_draws_changes_and_only_changes(make, now, screen, frames) -> None:
    pod = {"kind": "Pod", **make.pod("web-0")}
    world = World(pod)
    table = LiveTable(world, lambda: True, "manifests/", screen)
    running = asyncio.create_task(table.run())
    await until(lambda: len(frames) == 1)
    await asyncio.sleep(0.2)  # ten ticks in which nothing happens
    assert len(frames) == 1

    crashing = {"kind": "Pod", **make.pod("web-0", containerStatuses=[make.container_status(ready=False, restarts=1)])}
    world.changes.put_nowait(Change("MODIFIED", crashing))
    world.changes.put_nowait(
        Change("ADDED", {"kind": "Event", **make.event("Pod/web-0", "BackOff", "Back-off\x1b[2J", type="Warning")})
    )
    await until(lambda: "BackOff 60s ago" in shown(screen))
    assert "CrashLoopBackOff" in shown(screen)
    assert "\x1b[2J" not in shown(screen).split("BackOff 60s")[1]

    logging.getLogger("reconciler.test").warning("pod default/web-0: %s", "crashed")
    await until(lambda: "pod default/web-0: crashed" in shown(screen))

    world.problems.append(Fault())
    await until(lambda: "web.yaml:7: spec: Field required" in shown(screen))
    await until(lambda: "1 problem" in shown(screen))

    world.changes.put_nowait(Change("DELETED", crashing))
    await until(lambda: "nothing declared that runs" in shown(screen))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not any(isinstance(handler, live.LastLines) for handler in logging.getLogger().handlers)
    assert shown(screen).rstrip().endswith("crashed"), "the last board stays below the prompt"


async def test_it_lists_again_when_its_watch_was_ended(make, now, screen, frames) -> None:
    world = World({"kind": "Pod", **make.pod("web-0")})
    running = asyncio.create_task(LiveTable(world, lambda: True, "manifests/", screen).run())
    await until(lambda: "pod/web-0" in shown(screen))
    world.pods = [{"kind": "Pod", **make.pod("web-1")}]
    world.changes.put_nowait(None)
    await until(lambda: "pod/web-1" in shown(screen))
    assert [line.name for line in frames[-1].lines] == ["pod/web-1"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_ages_move_on_by_themselves(make, screen, frames, monkeypatch) -> None:
    at = [make.now]
    monkeypatch.setattr("time.time", lambda: at[0])
    table = LiveTable(World({"kind": "Pod", **make.pod("web-0")}), lambda: True, "manifests/", screen)
    running = asyncio.create_task(table.run())
    await until(lambda: "60s" in shown(screen))
    at[0] += 7
    await until(lambda: "67s" in shown(screen))
    assert len(frames) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_small_screen_shows_what_matters_and_counts_the_rest(make, now, screen, frames) -> None:
    pods = [{"kind": "Pod", **make.pod(f"web-{n:02}")} for n in range(40)]
    pods[30] = {"kind": "Pod", **make.pod("web-30", containerStatuses=[make.container_status(ready=False)])}
    table = LiveTable(World(*pods), lambda: False, "manifests/", screen)
    running = asyncio.create_task(table.run())
    await until(lambda: frames)
    await until(lambda: "web-30" in shown(screen))
    board = frames[0]
    assert len(board.lines) + board.hidden == 40
    assert board.hidden_unwell == 0
    assert "more, all well" in shown(screen)
    assert shown(screen).count("\n") <= 24
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
