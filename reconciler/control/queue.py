"""The work queue: names only, each at most once, and never the same name twice at a time.

Level-triggered work needs nothing else: whatever happened to an object, its name is added,
and the pass that takes the name looks at the whole object. A name that is added while its pass
is under way is taken again after it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from reconciler.model.ref import Ref
from reconciler.ports import Clock
from reconciler.telemetry import Telemetry

_RETRY_BASE_SECONDS = 0.5
_RETRY_CAP_SECONDS = 60.0
_RETRY_DOUBLINGS = 7  # the cap is reached by then, and 2 ** 1024 is too large for a float
_LABELS = ("reconciler", "reconciler")


class WorkQueue:
    """Refs that are due, refs that will be, and refs that are being worked on."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._adds = telemetry.queue_adds_total.labels(*_LABELS)
        self._waits = telemetry.queue_duration_seconds.labels(*_LABELS)
        self._works = telemetry.work_duration_seconds.labels(*_LABELS)
        self._ready: dict[Ref, float] = {}  # in order of arrival; value: when it became due
        self._active: dict[Ref, float] = {}  # value: when it was taken
        self._again: set[Ref] = set()  # added while active
        self._later: list[tuple[float, Ref]] = []
        self._due: dict[Ref, float] = {}  # the one entry of _later that counts for a ref
        self._retries: dict[Ref, int] = {}
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, ref: Ref) -> None:
        """Have `ref` looked at as soon as possible."""
        self._due.pop(ref, None)
        if ref in self._active:
            self._again.add(ref)
        elif ref not in self._ready:
            self._ready[ref] = self._clock.now()
            self._idle.clear()
            self._adds.inc()
            self._arrived.set()

    def add_at(self, ref: Ref, at: float) -> None:
        """Have `ref` looked at once it is `at`; the earliest moment asked for counts."""
        if ref in self._ready or self._due.get(ref, float("inf")) <= at:
            return
        self._due[ref] = at
        heapq.heappush(self._later, (at, ref))
        self._arrived.set()

    def retry(self, ref: Ref) -> None:
        """Have `ref` looked at again after a pass that did not get it where it should be: 0.5 s doubling to 60 s."""
        count = self._retries[ref] = self._retries.get(ref, 0) + 1
        self._telemetry.retries_total.labels(*_LABELS).inc()
        delay = _RETRY_BASE_SECONDS * 2 ** min(count - 1, _RETRY_DOUBLINGS)
        self.add_at(ref, self._clock.now() + min(delay, _RETRY_CAP_SECONDS))

    def forget(self, ref: Ref) -> None:
        """`ref` is where it should be: its next failure starts the back-off anew."""
        self._retries.pop(ref, None)

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing is being worked on."""
        return not self._ready and not self._active

    async def until_idle(self) -> None:
        """Return once nothing is due and nothing is being worked on."""
        await self._idle.wait()

    def busy_with(self, ref: Ref) -> bool:
        """Whether `ref` is due or being worked on."""
        return ref in self._ready or ref in self._active

    async def run(self, work: Callable[[Ref], Awaitable[None]], done: Callable[[], None], *, concurrency: int) -> None:
        """Take due refs and hand each to `work`, up to `concurrency` at once, until cancelled.

        `work` does not raise; `done` is called after each. Cancelling this cancels what is under way and waits for it.
        """
        slots = asyncio.Semaphore(concurrency)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await slots.acquire()
                ref = await self._take()
                task = tasks.create_task(self._work_on(ref, work, done))
                task.add_done_callback(lambda _: slots.release())

    async def _work_on(self, ref: Ref, work: Callable[[Ref], Awaitable[None]], done: Callable[[], None]) -> None:
        try:
            await work(ref)
        finally:
            took = self._clock.now() - self._active.pop(ref)
            self._works.observe(max(0.0, took))
            if ref in self._again:
                self._again.discard(ref)
                self.add(ref)
            if self.idle:
                self._idle.set()
            done()

    async def _take(self) -> Ref:
        while True:
            now = self._clock.now()
            while self._later and self._later[0][0] <= now:
                at, ref = heapq.heappop(self._later)
                if self._due.get(ref) == at:
                    self.add(ref)
            for ref, since in self._ready.items():
                del self._ready[ref]
                self._active[ref] = now
                self._waits.observe(max(0.0, now - since))
                return ref
            self._arrived.clear()
            timeout = max(0.0, self._later[0][0] - now) if self._later else None
            try:
                await asyncio.wait_for(self._arrived.wait(), timeout)
            except TimeoutError:
                continue

    def measure(self) -> None:
        """Set the gauges that only matter when somebody looks."""
        now = self._clock.now()
        ages = [now - since for since in self._active.values()]
        t = self._telemetry
        t.queue_depth.labels(*_LABELS).set(len(self._ready))
        t.unfinished_work_seconds.labels(*_LABELS).set(sum(ages))
        t.longest_running_seconds.labels(*_LABELS).set(max(ages, default=0.0))
        t.active_workers.labels("reconciler").set(len(self._active))
