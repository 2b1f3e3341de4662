"""The work queue on virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from reconciler.control.queue import WorkQueue
from reconciler.model.ref import Ref
from reconciler.telemetry import Telemetry
from tests.virtual import VirtualClock, run

A, B, C = (Ref("Pod", "default", name) for name in "abc")


class Line:
    """A queue that is worked on, and when each ref was taken, in seconds from the start."""

    def __init__(self, concurrency: int = 10) -> None:
        self.clock = VirtualClock()
        self.telemetry = Telemetry()
        self.queue = WorkQueue(self.clock, self.telemetry)
        self.taken: list[tuple[str, float]] = []
        self.work: Callable[[Ref], Awaitable[None]] = self._nothing
        self.done = 0
        self.task = asyncio.create_task(self.queue.run(self._work, self._done, concurrency=concurrency))

    async def _nothing(self, ref: Ref) -> None:
        pass

    async def _work(self, ref: Ref) -> None:
        self.taken.append((ref.name, self.elapsed()))
        await self.work(ref)

    def _done(self) -> None:
        self.done += 1

    def elapsed(self) -> float:
        return round(self.clock.now() - VirtualClock.start, 3)

    def at(self, seconds: float) -> float:
        return VirtualClock.start + seconds

    def sample(self, name: str) -> float | None:
        return self.telemetry.registry.get_sample_value(name, {"name": "reconciler", "controller": "reconciler"})


def on_virtual_time(test: Callable[[Line], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def runner() -> None:
        async def main() -> None:
            line = Line()
            try:
                await test(line)
            finally:
                line.task.cancel()
                await asyncio.gather(line.task, return_exceptions=True)

        run(main())

    runner.__name__ = test.__name__
    return runner


@on_virtual_time
async def test_a_ref_waits_once_and_refs_come_in_order(line: Line) -> None:
    for ref in (B, A, B, C, A):
        line.queue.add(ref)
    await line.queue.until_idle()
    assert [name for name, _ in line.taken] == ["b", "a", "c"]
    assert line.sample("workqueue_adds_total") == 3
    assert line.done == 3


@on_virtual_time
async def test_a_ref_is_never_worked_on_twice_at_a_time_and_is_taken_again(line: Line) -> None:
    at_work: set[Ref] = set()

    async def work(ref: Ref) -> None:
        assert ref not in at_work
        at_work.add(ref)
        await asyncio.sleep(5)
        at_work.discard(ref)

    line.work = work
    line.queue.add(A)
    await asyncio.sleep(1)
    for _ in range(3):
        line.queue.add(A)
    assert line.queue.busy_with(A)
    assert not line.queue.idle
    await line.queue.until_idle()
    assert line.taken == [("a", 0), ("a", 5)]
    assert not line.queue.busy_with(A)


@on_virtual_time
async def test_later_is_not_before_and_the_earliest_moment_counts(line: Line) -> None:
    for seconds in (30, 10, 20):
        line.queue.add_at(A, line.at(seconds))
    line.queue.add_at(B, line.at(15))
    assert line.queue.idle, "what is due later keeps nobody waiting"
    await asyncio.sleep(60)
    assert line.taken == [("a", 10), ("b", 15)]


@on_virtual_time
async def test_what_is_looked_at_now_need_not_be_looked_at_later(line: Line) -> None:
    line.queue.add_at(A, line.at(10))
    line.queue.add(A)
    line.queue.add_at(A, line.at(20))
    await asyncio.sleep(60)
    assert line.taken == [("a", 0)]


@on_virtual_time
async def test_a_moment_that_a_pass_asks_for_counts(line: Line) -> None:
    async def work(ref: Ref) -> None:
        if len(line.taken) < 3:
            line.queue.add_at(ref, line.clock.now() + 10)

    line.work = work
    line.queue.add(A)
    await asyncio.sleep(100)
    assert line.taken == [("a", 0), ("a", 10), ("a", 20)]


@on_virtual_time
async def test_what_comes_due_during_its_own_pass_is_taken_after_it(line: Line) -> None:
    async def work(ref: Ref) -> None:
        if len(line.taken) == 1:
            line.queue.add_at(ref, line.at(1))
        await asyncio.sleep(5)

    line.work = work
    line.queue.add(A)
    await asyncio.sleep(100)
    assert line.taken == [("a", 0), ("a", 5)]


@on_virtual_time
async def test_failures_in_a_row_back_off_and_success_begins_anew(line: Line) -> None:
    async def work(ref: Ref) -> None:
        if len(line.taken) == 12:
            line.queue.forget(ref)
        line.queue.retry(ref)

    line.work = work
    line.queue.add(A)
    await asyncio.sleep(500)
    moments = [at for _, at in line.taken]
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    assert gaps[:11] == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60])
    assert gaps[11:14] == pytest.approx([0.5, 1, 2])
    assert line.sample("workqueue_retries_total") == len(line.taken)


@on_virtual_time
async def test_any_number_of_failures_can_be_borne(line: Line) -> None:
    for _ in range(3000):
        line.queue.retry(A)
    await asyncio.sleep(61)
    assert [name for name, _ in line.taken] == ["a"]


@on_virtual_time
async def test_waiting_is_measured(line: Line) -> None:
    async def work(ref: Ref) -> None:
        await asyncio.sleep(4)

    line.work = work
    line.queue.add(A)
    await asyncio.sleep(3)
    line.queue.measure()
    assert line.sample("workqueue_unfinished_work_seconds") == pytest.approx(3)
    assert line.sample("workqueue_longest_running_processor_seconds") == pytest.approx(3)
    await line.queue.until_idle()
    line.queue.measure()
    assert line.sample("workqueue_unfinished_work_seconds") == 0
    assert line.sample("workqueue_work_duration_seconds_sum") == pytest.approx(4)


def test_only_so_many_at_once_and_cancelling_waits_for_them() -> None:
    async def main() -> None:
        line = Line(concurrency=2)
        most = now = ended = 0

        async def work(ref: Ref) -> None:
            nonlocal most, now, ended
            now += 1
            most = max(most, now)
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(1)  # as a step that must not be left half done
                now -= 1
                ended += 1

        line.work = work
        for ref in (A, B, C):
            line.queue.add(ref)
        await asyncio.sleep(5)
        assert now == 2
        line.queue.measure()
        assert line.sample("workqueue_depth") == 1
        line.task.cancel()
        await asyncio.gather(line.task, return_exceptions=True)
        assert (most, now, ended) == (2, 0, 2)

    run(main())
