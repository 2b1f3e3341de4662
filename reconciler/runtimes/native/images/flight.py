"""Two callers that want the same thing at the same time share one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Work under way, by key. It goes on when a caller is cancelled: await it through `asyncio.shield`."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    def join(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The task that does `key`: the one under way, else a new one that runs `work`."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._landed(key, done))
        return task

    async def aclose(self) -> None:
        """Cancel all, and wait until they have cleaned up."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: str, task: asyncio.Task[T]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled():
            task.exception()  # its callers may all be gone: then nobody else looks at it


class Feed:
    """Lines of one piece of work, for any number of readers that come and go; each sees all of them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._moved = asyncio.Event()

    def say(self, line: str) -> None:
        self._lines.append(line)
        self._moved.set()
        self._moved = asyncio.Event()

    async def follow(self, task: asyncio.Task[Any]) -> AsyncIterator[str]:
        """All lines until `task`, which says them, is done. Its outcome is not looked at."""
        told = 0
        while True:
            moved = self._moved
            for line in self._lines[told:]:
                told += 1
                yield line
            if told < len(self._lines):
                continue
            if task.done():
                return
            waiter = asyncio.create_task(moved.wait())
            try:
                await asyncio.wait({waiter, task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
