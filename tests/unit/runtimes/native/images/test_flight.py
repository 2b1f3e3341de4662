import asyncio

import pytest

from reconciler.ports import Progress
from reconciler.runtimes.native.images.flight import Feed, Flights


async def test_callers_share_one_piece_of_work() -> None:
    flights: Flights[int] = Flights()
    runs = []

    async def work() -> int:
        runs.append(1)
        await asyncio.sleep(0)
        return 7

    assert await asyncio.gather(flights.join("a", work), flights.join("a", work)) == [7, 7]
    assert len(runs) == 1
    await flights.join("a", work)
    assert len(runs) == 2, "what has landed is not shared"


async def test_a_cancelled_caller_does_not_stop_the_work() -> None:
    flights: Flights[int] = Flights()
    gate = asyncio.Event()

    async def work() -> int:
        await gate.wait()
        return 7

    async def caller() -> int:
        return await asyncio.shield(flights.join("a", work))

    first, second = asyncio.create_task(caller()), asyncio.create_task(caller())
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == 7


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    flights: Flights[int] = Flights()

    async def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await flights.join("a", fail)


async def test_closing_waits_until_the_work_has_cleaned_up() -> None:
    flights: Flights[None] = Flights()
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    flights.join("a", work)
    await asyncio.sleep(0)
    await flights.aclose()
    assert cleaned == [True]


async def test_every_reader_of_a_feed_sees_all_lines() -> None:
    feed = Feed()
    gate = asyncio.Event()

    async def work() -> None:
        feed.say("one")
        await gate.wait()
        feed.say("two")

    async def read() -> list[str]:
        return [line async for line in feed.follow(task)]

    task = asyncio.create_task(work())
    early = asyncio.create_task(read())
    await asyncio.sleep(0)
    late = asyncio.create_task(read())
    gate.set()
    assert await early == await late == ["one", "two"]
    assert await read() == ["one", "two"]


async def test_progress_is_followed_and_told_last() -> None:
    feed = Feed()
    go = asyncio.Event()

    async def work() -> None:
        feed.measure(Progress(1, 9))
        await go.wait()
        feed.say("line")
        feed.measure(Progress(9, 9))

    task = asyncio.create_task(work())
    told: list[str | Progress] = []
    async for said in feed.follow(task):
        told.append(said)
        go.set()
    assert told == [Progress(1, 9), "line", Progress(9, 9)]


async def test_what_has_just_ended_is_not_joined() -> None:
    flights: Flights[int] = Flights()
    numbers = iter(range(9))

    async def work() -> int:
        return next(numbers)

    first = flights.join("a", work)
    await asyncio.sleep(0)
    assert first.done()
    assert await flights.join("a", work) == 1
