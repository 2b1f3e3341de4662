"""Images that come from registries and go to them: pulls that callers share, and pushes.

A pull that a break in the connection ended keeps the layers that were whole, for the next one to
go on from; one that failed for good leaves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from reconciler.errors import TerminalError
from reconciler.model.login import Login
from reconciler.model.reference import familiar
from reconciler.ports import Progress
from reconciler.runtimes.native.images import names
from reconciler.runtimes.native.images.catalog import ARCHITECTURE, Catalog, Known
from reconciler.runtimes.native.images.docker_config import logins_of_machine
from reconciler.runtimes.native.images.flight import Feed, Flights
from reconciler.runtimes.native.images.layout import Layout
from reconciler.runtimes.native.images.registry import Registry, Remote
from reconciler.runtimes.native.images.spec import (
    ORIGIN,
    REF_NAME,
    Descriptor,
    InvalidImage,
    parse_index,
    parse_platform,
)
from reconciler.runtimes.native.images.staging import Staging
from reconciler.runtimes.native.images.transport import Kind, SkopeoFailed

_MACHINE = ("linux", ARCHITECTURE, "")


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull took. `bytes` are those of layers that were fetched, 0 when all were there;
    `size_bytes` those of the whole image as it is stored."""

    seconds: float
    bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Order:
    """A pull as somebody wants it. `platform` is (os, architecture, variant); `own` adds the logins of this machine."""

    name: str
    platform: tuple[str, str, str] = _MACHINE
    verify_tls: bool = True
    logins: tuple[Login, ...] = field(default=(), repr=False)
    own: bool = True


class Take(Protocol):
    """Unpack the image of a staging directory, and give it its names. `origin` is its digest in the registry."""

    async def __call__(self, staging: Staging, given: Sequence[str], *, origin: str = "") -> Known: ...


@dataclass(frozen=True, slots=True)
class Place:
    """What of the store an exchange needs: within `content` nothing is swept, `unpack` makes sure that an image's
    layers can be mounted (or raises InvalidImage), `sweep` deletes what nothing needs."""

    layout: Layout
    catalog: Catalog
    content: Callable[[], AbstractAsyncContextManager[None]]
    staging: Callable[[], AbstractAsyncContextManager[Staging]]
    take: Take
    unpack: Callable[[Known], Awaitable[object]]
    sweep: Callable[[], Awaitable[None]]


class Exchange:
    """The pulls and pushes of one store."""

    def __init__(self, place: Place, pulled: Callable[[PullResult], None]) -> None:
        """`pulled` is told of every pull that went well."""
        self._place = place
        self._pulled = pulled
        self._flights: Flights[PullResult] = Flights()
        self._feeds: dict[_Order, Feed] = {}

    async def aclose(self) -> None:
        """Stop what is under way; nothing of it stays but whole blobs."""
        await self._flights.aclose()

    async def pull_image(self, name: str, logins: Sequence[Login] = ()) -> PullResult:
        """See `ImageStore.pull_image`."""
        return await asyncio.shield(self._join(_Order(name, logins=tuple(logins)))[0])

    async def pull(
        self, name: str, platform: str, verify_tls: bool, logins: Sequence[Login] | None
    ) -> AsyncGenerator[str | Progress, None]:
        """See `Images.pull`; `name` is normalized."""
        order = _Order(name, _platform(platform), verify_tls, tuple(logins or ()), own=logins is None)
        task, feed = self._join(order)
        async for said in feed.follow(task):
            yield said
        result = await asyncio.shield(task)
        news = f"{result.bytes} bytes" if result.bytes else "it was up to date"
        yield f"pulled {familiar(name)} in {result.seconds:.1f} s, {news}"

    async def push(
        self, name: str, verify_tls: bool, logins: Sequence[Login] | None
    ) -> AsyncGenerator[str | Progress, None]:
        """See `Images.push`; `name` is normalized."""
        if "@" in name:
            raise TerminalError(f"{familiar(name)!r} has a digest: push a tag", reason="InvalidImageName")
        feed, started = Feed(), time.monotonic()
        task = asyncio.create_task(self._push(name, verify_tls, logins, feed))
        try:
            async for said in feed.follow(task):
                yield said
            digest, size_bytes = await task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        yield f"pushed {familiar(name)} in {time.monotonic() - started:.1f} s, {size_bytes} bytes, digest {digest}"

    async def _push(self, name: str, verify_tls: bool, logins: Sequence[Login] | None, feed: Feed) -> tuple[str, int]:
        place = self._place
        async with place.content(), place.staging() as staging:
            entry = next((e for e in place.layout.entries() if names.name_of(e) == name), None)
            if entry is None:
                raise TerminalError(f"image {familiar(name)!r} is not in the store", reason="NotFound")
            known = place.catalog.read(entry)
            feed.say(f"pushing {familiar(name)}, {len(known.manifest.layers)} layers, {known.size_bytes} bytes")
            if logins is None:
                logins = await asyncio.to_thread(logins_of_machine, name)
            registry = Registry(name, staging, logins=logins, verify_tls=verify_tls, pushing=True)
            source = f"oci:{place.layout.path}:{entry.annotations[REF_NAME]}"
            digest = await registry.send(source, known.size_bytes, feed.measure)
            await self._note_origin(entry, digest)
            return digest, known.size_bytes

    def _join(self, order: _Order) -> tuple[asyncio.Task[PullResult], Feed]:
        def start() -> Coroutine[Any, Any, PullResult]:
            self._feeds[order] = Feed()
            return self._pull(order, self._feeds[order])

        task = self._flights.join(order, start)
        return task, self._feeds[order]

    async def _pull(self, order: _Order, feed: Feed) -> PullResult:
        started, place = time.monotonic(), self._place
        try:
            async with place.content(), place.staging() as staging:
                own = await asyncio.to_thread(logins_of_machine, order.name) if order.own else ()
                registry = Registry(order.name, staging, logins=(*order.logins, *own), verify_tls=order.verify_tls)
                os, architecture, variant = order.platform
                remote = await registry.find(architecture, os=os, variant=variant)
                fetched_bytes, known = 0, await self._up_to_date(order, remote)
                if known is None:
                    fetched_bytes = await registry.fetch(remote, place.layout.blobs, feed.say, feed.measure)
                    (entry,) = parse_index((staging.path / "index.json").read_bytes())
                    _check_platform(order, place.catalog.read(entry))
                    known = await place.take(staging, (order.name,), origin=remote.digest)
                else:
                    _check_platform(order, known)
        except InvalidImage:
            await place.sweep()
            raise
        except SkopeoFailed as error:
            if error.kind is Kind.FINAL:
                await place.sweep()
            raise
        finally:
            self._feeds.pop(order, None)
        result = PullResult(time.monotonic() - started, fetched_bytes, known.size_bytes)
        self._pulled(result)
        return result

    async def _up_to_date(self, order: _Order, remote: Remote) -> Known | None:
        """The image of that name, if it is what the registry has, and whole. The config decides: it names the
        content of all layers, which may be compressed in another way there."""
        place = self._place
        for entry in place.layout.entries():
            if names.name_of(entry) != order.name or order.name not in place.catalog.references():
                continue
            with contextlib.suppress(InvalidImage):
                known = place.catalog.read(entry)
                if known.id == remote.manifest.config.digest:
                    await place.unpack(known)
                    await self._note_origin(entry, remote.digest)
                    return known
        return None

    async def _note_origin(self, entry: Descriptor, digest: str) -> None:
        """Remember which digest the name of an entry stands for in its registry."""
        noted = replace(entry, annotations={**entry.annotations, ORIGIN: digest})
        if noted != entry:
            await asyncio.to_thread(self._place.layout.update, lambda all: [noted if e == entry else e for e in all])


def _check_platform(order: _Order, known: Known) -> None:
    """An image that is not one of several platforms may be for another than was asked for. Raises: InvalidImage."""
    made_for = known.config.platform
    if parse_platform(made_for)[:2] != order.platform[:2]:
        wanted = "/".join(filter(None, order.platform))
        raise InvalidImage(
            f"pulling {familiar(order.name)!r}: the image is for {made_for}, not for {wanted}; "
            f"--platform {made_for} pulls it all the same"
        )


def _platform(text: str) -> tuple[str, str, str]:
    if not text:
        return _MACHINE
    try:
        return parse_platform(text)
    except ValueError as error:
        raise TerminalError(str(error), reason="InvalidPlatform") from None
