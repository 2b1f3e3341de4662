"""The live table of `watch`, on a terminal: the store's changes in, a screen out.

It draws only when what it would show differs from what it shows, at most ten times a
second after changes, and otherwise looks once a second whether an age has moved on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reconciler.cli import board
from reconciler.cli.ages import parse_time
from reconciler.cli.table import status_colour, visible

FRAME_SECONDS = 0.1
TICK_SECONDS = 1.0
LOG_LINES = 8
_VERDICT_STYLES = {"in sync": "bold green", "converging": "bold yellow"}


class Object(Protocol):
    """A record of the store."""

    def to_json(self) -> Mapping[str, Any]: ...


class Change(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def record(self) -> Object: ...


class Problem(Protocol):
    @property
    def severity(self) -> str: ...


class View(Protocol):
    """The daemon, as far as the live table looks at it: control/store.py."""

    @property
    def revision(self) -> str: ...
    @property
    def prune_blocked(self) -> str: ...
    @property
    def problems(self) -> Sequence[Problem]: ...

    @property
    def resource_version(self) -> int: ...

    def list(self, kind: str) -> Sequence[Object]: ...
    def events(self) -> Sequence[Object]: ...
    def watch(self, since: int | None = None) -> AsyncIterator[Change]: ...


class LiveTable:
    """One screen, for as long as `run` runs."""

    def __init__(self, view: View, in_sync: Callable[[], bool], folder: str, console: Console) -> None:
        self._view = view
        self._in_sync = in_sync
        self._folder = folder
        self._console = console
        self._entries: dict[tuple[str, str, str], board.Entry] = {}
        self._last: dict[tuple[str, str, str], board.Happening] = {}
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._placed: list[tuple[int, board.Entry]] = []
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Draw until cancelled; the last board stays below the prompt."""
        handler = LastLines(self.note)
        logging.getLogger().addHandler(handler)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._moved.set)
        following = asyncio.create_task(self._follow())
        try:
            with Live(console=self._console, screen=True, auto_refresh=False) as live:
                await self._draw(live)
        finally:
            following.cancel()
            loop.remove_signal_handler(signal.SIGWINCH)
            logging.getLogger().removeHandler(handler)
            self._console.print(render(self._board(time.time())))

    def note(self, text: str) -> None:
        """Show a log line, the oldest goes."""
        self._log.append(text)
        self._moved.set()

    async def _follow(self) -> None:
        """List, and take every change since; again from the start when the store ends a watch that fell behind."""
        while True:
            version = self._view.resource_version
            self._entries.clear()
            for kind in board.KINDS:
                for record in self._view.list(kind):
                    self._take("ADDED", record.to_json())
            for record in self._view.events():
                self._take("ADDED", record.to_json())
            self._moved.set()
            async for change in self._view.watch(version):
                self._take(change.type, change.record.to_json())
                self._moved.set()

    async def _draw(self, live: Live) -> None:
        shown: tuple[board.Board, tuple[int, int]] | None = None
        await self._moved.wait()
        while True:
            if self._moved.is_set():
                self._moved.clear()
                self._placed = board.arrange(self._entries)
            now = time.time()
            wanted = self._board(now), tuple(self._console.size)
            if wanted != shown:
                live.update(render(wanted[0]), refresh=True)
                shown = (wanted[0], (wanted[1][0], wanted[1][1]))
            await asyncio.sleep(FRAME_SECONDS)
            try:
                await asyncio.wait_for(self._moved.wait(), TICK_SECONDS - FRAME_SECONDS)
            except TimeoutError:
                pass

    def _take(self, change: str, item: Mapping[str, Any]) -> None:
        """Keep what a change says, of the kinds that are shown."""
        kind = item["kind"]
        if kind == "Event":
            about = item["involvedObject"]
            at = parse_time(item.get("lastTimestamp")) or 0.0
            key = (about["kind"], about.get("namespace", ""), about["name"])
            if change != "DELETED":
                happening = board.Happening(item["reason"], item["message"], item["type"] == "Warning", at)
                self._last[key] = max(happening, self._last.get(key, happening), key=lambda h: h.at)
        elif kind in board.KINDS:
            entry = board.entry(item)
            if change == "DELETED":
                self._entries.pop(entry.key, None)
                self._last.pop(entry.key, None)
            else:
                self._entries[entry.key] = entry

    def _board(self, now: float) -> board.Board:
        view = self._view
        faults = [str(problem) for problem in view.problems if problem.severity == "error"]
        problems = board.shorten(([view.prune_blocked] if view.prune_blocked else []) + faults)
        log = tuple(self._log)
        room = self._console.size.height - len(problems) - len(log) - 7  # headings, blank lines and the margin
        lines = board.choose(self._placed, max(room, 3))
        hidden = {e.key: e for _, e in self._placed}
        for _, of in lines:
            del hidden[of.key]
        namespaces = len({of.namespace for _, of in self._placed}) > 1
        return board.Board(
            folder=self._folder,
            revision=view.revision[:12],
            verdict=board.verdict(in_sync=self._in_sync(), errors=len(faults), held_back=bool(view.prune_blocked)),
            counts=board.counts(self._entries.values()),
            problems=problems,
            lines=tuple(board.line(d, of, self._last.get(of.key), now, namespaces=namespaces) for d, of in lines),
            hidden=len(hidden),
            hidden_unwell=sum(not of.well for of in hidden.values()),
            log=log,
        )


class LastLines(logging.Handler):
    """Hands every record to the screen, as one line."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        self._show(f"{at} {record.levelname[0]} {record.getMessage()}")


def render(of: board.Board) -> RenderableType:
    """A board as rich draws it."""
    verdict = Text(of.verdict, style=_VERDICT_STYLES.get(of.verdict, "bold red"))
    revision = f"  revision {of.revision}" if of.revision else ""
    parts: list[RenderableType] = [
        Text.assemble(("reconciler  ", "bold"), (visible(of.folder), "bold cyan"), (revision, "dim"), "  ", verdict),
        Text(of.counts, style="dim"),
    ]
    parts += [Text(visible(problem), style="red", no_wrap=True, overflow="ellipsis") for problem in of.problems]
    parts += [Text(), _table(of.lines)]
    if of.hidden:
        unwell = f", {of.hidden_unwell} of them not well" if of.hidden_unwell else ", all well"
        parts.append(Text(f"and {of.hidden} more{unwell}", style="dim"))
    if of.log:
        parts += [Text(), *(Text(visible(text), style="dim", no_wrap=True, overflow="ellipsis") for text in of.log)]
    return Group(*parts)


def _table(lines: Sequence[board.Line]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), expand=True, header_style="bold")
    for heading in ("OBJECT", "STATE", "READY", "RESTARTS", "AGE"):
        table.add_column(heading, no_wrap=True)
    table.add_column("LAST EVENT", no_wrap=True, overflow="ellipsis", ratio=1)
    for line in lines:
        table.add_row(
            Text("  " * line.depth + line.name),
            Text(line.state, style=status_colour(line.state) or ""),
            line.ready,
            line.restarts,
            line.age,
            Text(visible(line.event), style="yellow" if line.warning else "dim"),
        )
    return table
