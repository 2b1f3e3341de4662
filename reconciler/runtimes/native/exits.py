"""Seeing processes end, through pidfds in the event loop: no polling, no child handlers.

What is watched is a container's monitor: it writes the exit code, and ends right after.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.oci import Process


@dataclass(slots=True)
class Watched:
    """A container's two processes. A descriptor of -1: it is gone."""

    process: int = -1
    monitor: int = -1
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Exits:
    """The processes of all containers. `on_end` is called in the loop, once, when a container's monitor has ended."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._watched: dict[str, Watched] = {}

    def watch(self, id: str, process: Process, monitor: Process) -> None:
        """Begin to watch. A monitor that has ended already is reported too, in the loop's next turn."""
        self.drop(id)
        watched = Watched(
            kernel.open_process(process.pid, process.started) or -1 if process.pid else -1,
            kernel.open_process(monitor.pid, monitor.started) or -1 if monitor.pid else -1,
        )
        self._watched[id] = watched
        loop = asyncio.get_running_loop()
        if watched.monitor >= 0:
            loop.add_reader(watched.monitor, self._ended, id)
        else:
            loop.call_soon(self._ended, id)

    def drop(self, id: str) -> None:
        """Watch no more. Idempotent."""
        watched = self._watched.pop(id, None)
        if watched is None:
            return
        watched.ended.set()
        if watched.monitor >= 0:
            asyncio.get_running_loop().remove_reader(watched.monitor)
        for descriptor in (watched.process, watched.monitor):
            if descriptor >= 0:
                os.close(descriptor)

    def alive(self, ids: Iterable[str]) -> tuple[set[str], set[str]]:
        """Of these, (those whose process runs, those whose monitor has not been seen to end), in one system call."""
        watched = {id: self._watched[id] for id in ids if id in self._watched}
        poller = select.poll()
        owners: dict[int, str] = {}
        for id, one in watched.items():
            if one.process >= 0:
                poller.register(one.process, select.POLLIN)
                owners[one.process] = id
        for descriptor, _ in poller.poll(0):
            owners.pop(descriptor, None)
        return set(owners.values()), {id for id, one in watched.items() if one.monitor >= 0}

    def descriptor(self, id: str) -> int | None:
        """The pidfd of the container's process, or None when there is none to signal."""
        watched = self._watched.get(id)
        return watched.process if watched is not None and watched.process >= 0 else None

    async def wait(self, id: str, timeout_seconds: float | None = None) -> bool:
        """Wait for the end; False when the time ran out first. True when it is not watched at all."""
        watched = self._watched.get(id)
        if watched is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await watched.ended.wait()
        return watched.ended.is_set()

    def close(self) -> None:
        for id in list(self._watched):
            self.drop(id)

    def _ended(self, id: str) -> None:
        watched = self._watched.get(id)
        if watched is None:
            return
        if watched.monitor >= 0:
            asyncio.get_running_loop().remove_reader(watched.monitor)
            os.close(watched.monitor)
            watched.monitor = -1
        self._on_end(id)
        watched.ended.set()
