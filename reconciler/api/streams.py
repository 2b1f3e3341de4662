"""Answers that last: watches, logs, progress. They flow as they come, and end when the daemon does.

A daemon that stops ends each of them with a proper last chunk, so that a client can tell
the end from a break; without this a `get -w` would hold the shutdown up.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from aiohttp import web

log = logging.getLogger(__name__)


def json_line(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """One JSON value on one line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def json_answer(value: Mapping[str, Any] | Sequence[Any], status: int = 200) -> web.Response:
    """A whole answer of one JSON value."""
    return web.Response(body=json_line(value), status=status, content_type="application/json")


class Streams:
    """All answers of one server that are still flowing."""

    def __init__(self) -> None:
        self._flowing: set[asyncio.Future[None]] = set()
        self._closed = False

    async def send(
        self, request: web.Request, content_type: str, parts: AsyncGenerator[bytes, None]
    ) -> web.StreamResponse:
        """Answer with `parts`, each as soon as it is there. Hanging up, or `close`, closes `parts`."""
        response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-cache, private"})
        await response.prepare(request)
        try:
            await self.run(_copy(parts, response))
            await response.write_eof()
        except ConnectionError:
            pass  # the client hung up
        except Exception:
            log.exception("%s %s broke off", request.method, request.path)
            if request.transport is not None:
                request.transport.abort()  # without the last chunk, so that nobody takes it for the end
        return response

    async def run(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do `work` until it is done (True), or `close` cuts it short (False). What it raises passes through."""
        task = asyncio.ensure_future(work)
        self._flowing.add(task)
        if self._closed:
            task.cancel()
        try:
            await asyncio.wait({task})
        finally:
            self._flowing.discard(task)
            if not task.done():  # we were cancelled: the client hung up
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def close(self) -> None:
        """End them all, and from now on those that begin."""
        self._closed = True
        for task in self._flowing:
            task.cancel()


async def _copy(parts: AsyncGenerator[bytes, None], response: web.StreamResponse) -> None:
    async with aclosing(parts):
        async for part in parts:
            await response.write(part)
