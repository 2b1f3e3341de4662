"""Work that a closing server cuts short."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.api.streams import Streams


async def forever() -> None:
    await asyncio.sleep(60)


async def test_what_ends_by_itself_is_done() -> None:
    assert await Streams().run(asyncio.sleep(0)) is True


async def test_closing_cuts_short_what_flows_and_what_begins_later() -> None:
    streams = Streams()
    flowing = asyncio.ensure_future(streams.run(forever()))
    await asyncio.sleep(0)
    streams.close()
    assert await asyncio.wait_for(flowing, 5) is False
    assert await asyncio.wait_for(streams.run(forever()), 5) is False


async def test_a_fault_passes_through() -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await Streams().run(broken())


async def test_who_is_cancelled_takes_its_work_along() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    running = asyncio.ensure_future(Streams().run(work()))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
