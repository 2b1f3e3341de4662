"""Two callers that want the same thing at the same time share one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from reconciler.ports import Progress

T = TypeVar("T")


class Flights(Generic[T]):
    """Work under way, by key. It goes on when a caller is cancelled: await it through `asyncio.shield`."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The task that does `key`: the one under way, else a new one that runs `work`."""
        task = self._tasks.get(key)
        if task is None or task.done():
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._landed(key, done))
        return task

    async def aclose(self) -> None:
        """Cancel all, and wait until they have cleaned up."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # its callers may all be gone: then nobody else looks at it


class Feed:
    """What one piece of work tells, for any number of readers that come and go: each sees all
    lines, and how far it has come."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._progress: Progress | None = None
        self._moved = asyncio.Event()

    def say(self, line: str) -> None:
        self._lines.append(line)
        self._wake()

    def measure(self, progress: Progress) -> None:
        if progress != self._progress:
            self._progress = progress
            self._wake()

    async def follow(self, task: asyncio.Task[Any]) -> AsyncIterator[str | Progress]:
        """All lines, and the progress as it changes, until `task`, which tells them, is done. Its outcome
        is not looked at."""
        told, shown = 0, None
        while True:
            moved = self._moved
            for line in self._lines[told:]:
                told += 1
                yield line
            if self._progress is not None and self._progress != shown:
                shown = self._progress
                yield shown
            if told < len(self._lines) or self._progress != shown:
                continue
            if task.done():
                return
            waiter = asyncio.create_task(moved.wait())
            try:
                await asyncio.wait({waiter, task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
