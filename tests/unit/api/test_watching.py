"""Watches: nothing is missed between a list and a watch, and every watch ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from reconciler.api import watching
from reconciler.api.client import ApiError
from reconciler.model.ref import Ref

PODS = "/api/v1/namespaces/default/pods"
A = Ref("Pod", "default", "a")


class Watch:
    """A watch that is under way."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> Any:
        line = await asyncio.wait_for(self.answer.content.readline(), 5)
        assert line, "the watch has ended"
        return json.loads(line)

    async def names(self, count: int) -> list[str]:
        events = [await self.next() for _ in range(count)]
        return [f"{event['type']} {event['object']['metadata']['name']}" for event in events]

    async def end(self) -> None:
        """Wait for its proper end."""
        assert await asyncio.wait_for(self.answer.content.read(), 5) == b""


@pytest.fixture
async def session(world: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://api", connector=aiohttp.UnixConnector(str(world.socket))) as session:
        yield session


@asynccontextmanager
async def watch(session: aiohttp.ClientSession, path: str = PODS, accept: str = "*/*", **query: Any) -> Any:
    params = {"watch": "true", **{name: str(value) for name, value in query.items()}}
    async with session.get(path, params=params, headers={"Accept": accept}) as answer:
        assert answer.status == 200
        yield Watch(answer)


async def test_a_watch_from_a_list_misses_nothing(world: Any, session: aiohttp.ClientSession) -> None:
    world.declare(world.pod("a"), world.pod("b"))
    version = (await world.get(PODS))["metadata"]["resourceVersion"]
    world.declare(world.pod("c"))  # between the list and the watch
    world.store.set_status(A, world.running("a"))
    async with watch(session, resourceVersion=version) as events:
        assert await events.names(2) == ["ADDED c", "MODIFIED a"]
        world.store.remove(A)
        last = await events.next()
        assert (last["type"], last["object"]["status"]["phase"]) == ("DELETED", "Running")
        assert int(last["object"]["metadata"]["resourceVersion"]) == world.store.resource_version


async def test_a_watch_from_now_begins_with_what_there_is(world: Any, session: aiohttp.ClientSession) -> None:
    world.declare(world.pod("a"), world.pod("z", namespace="other"))
    async with watch(session) as events:
        assert await events.names(1) == ["ADDED a"]
        world.declare(world.pod("b"), world.pod("y", namespace="other"))
        assert await events.names(1) == ["ADDED b"]


async def test_initial_events_end_with_a_bookmark(world: Any, session: aiohttp.ClientSession) -> None:
    world.declare(world.pod("a"))
    async with watch(session, sendInitialEvents="true", allowWatchBookmarks="true") as events:
        assert await events.names(1) == ["ADDED a"]
        mark = await events.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["kind"] == "Pod"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert mark["object"]["metadata"]["resourceVersion"] == str(world.store.resource_version)


async def test_a_selection_sees_objects_come_and_go_as_their_labels_change(
    world: Any, session: aiohttp.ClientSession
) -> None:
    world.declare(world.pod("a", labels={"app": "db"}), world.pod("b", labels={"app": "db"}))
    version = world.store.resource_version
    async with watch(session, resourceVersion=version, labelSelector="app=web") as events:
        world.store.set_status(A, world.running("a"))  # not one of them: nothing
        world.declare(world.pod("a", labels={"app": "web"}))
        world.store.set_status(A, world.running("a", note=1))
        world.declare(world.pod("a", labels={"app": "db"}))
        world.store.remove(A)  # not one of them any more: nothing
        world.declare(world.pod("c", labels={"app": "web"}))
        assert await events.names(4) == ["ADDED a", "MODIFIED a", "DELETED a", "ADDED c"]


async def test_a_selection_by_field(world: Any, session: aiohttp.ClientSession) -> None:
    world.declare(world.pod("a"))
    async with watch(session, fieldSelector="status.phase=Running", resourceVersion=1_000_000) as events:
        assert (await events.next())["type"] == "ERROR"
    version = world.store.resource_version
    async with watch(session, fieldSelector="status.phase=Running", resourceVersion=version) as events:
        world.store.set_status(A, world.running("a"))
        world.store.set_status(A, {"phase": "Failed"})
        assert await events.names(2) == ["ADDED a", "DELETED a"]


async def test_tables(world: Any, session: aiohttp.ClientSession) -> None:
    world.declare(world.pod("a"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    async with watch(session, accept=accept) as events:
        first = (await events.next())["object"]
        assert [column["name"] for column in first["columnDefinitions"]][:2] == ["Name", "Ready"]
        assert first["rows"][0]["cells"][:2] == ["a", "0/1"]
        world.store.set_status(A, world.running("a"))
        second = (await events.next())["object"]
        assert second["columnDefinitions"] is None
        assert second["rows"][0]["cells"][:3] == ["a", "1/1", "Running"]
        assert second["metadata"]["resourceVersion"] == str(world.store.resource_version)


async def test_events_are_watched_like_all_else(world: Any, session: aiohttp.ClientSession) -> None:
    world.declare(world.pod("a"))
    async with watch(session, "/api/v1/events", fieldSelector="involvedObject.name=a") as events:
        world.store.event(A, "Started", "once")
        world.store.event(Ref("Pod", "default", "b"), "Started", "of another")
        world.store.event(A, "Started", "once")
        first, again = await events.next(), await events.next()
    assert (first["type"], first["object"]["count"]) == ("ADDED", 1)
    assert (again["type"], again["object"]["count"]) == ("MODIFIED", 2)


@pytest.mark.parametrize("version", [1, 999_999_999], ids=["forgotten", "of another life"])
async def test_a_version_that_is_not_known_is_expired(world: Any, version: int) -> None:
    def read() -> list[Any]:
        return list(world.client.stream("GET", PODS, watch=True, resourceVersion=version))

    with pytest.raises(ApiError, match="too old resource version") as caught:
        await asyncio.to_thread(read)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


async def test_timeout_and_no_bookmarks_unless_asked_for(
    world: Any, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BOOKMARK_SECONDS", 0.01)
    began = time.monotonic()
    async with watch(session, resourceVersion=world.store.resource_version, timeoutSeconds=1) as events:
        await events.end()
    assert 0.9 < time.monotonic() - began < 3


async def test_bookmarks_while_nothing_happens(
    world: Any, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BOOKMARK_SECONDS", 0.02)
    world.declare(world.pod("a"))
    version = world.store.resource_version
    async with watch(session, resourceVersion=version, allowWatchBookmarks="true") as events:
        assert (await events.next())["object"]["metadata"]["resourceVersion"] == str(version)
        world.declare({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}})
        marks = [await events.next() for _ in range(5)]
        assert {mark["type"] for mark in marks} == {"BOOKMARK"}
        newest = str(world.store.resource_version)  # a change of another kind moves it on, too
        assert marks[-1]["object"]["metadata"]["resourceVersion"] == newest


async def test_changes_come_at_once(world: Any, session: aiohttp.ClientSession) -> None:
    async with watch(session, resourceVersion=world.store.resource_version) as events:
        began = time.monotonic()
        world.declare(world.pod("a"))
        await events.next()
        assert time.monotonic() - began < 0.25


async def test_hanging_up_ends_the_watch_inside(world: Any, session: aiohttp.ClientSession) -> None:
    async with watch(session, resourceVersion=world.store.resource_version) as events:
        await world.eventually(lambda: len(world.store._watchers) == 1)
        events.answer.close()
    await world.eventually(lambda: not world.store._watchers)


async def test_a_daemon_that_stops_ends_watches_properly_and_at_once(
    world: Any, session: aiohttp.ClientSession
) -> None:
    async with watch(session, resourceVersion=world.store.resource_version) as events:
        began = time.monotonic()
        await world.listener.aclose()
        await events.end()
        assert time.monotonic() - began < 1
    assert not world.store._watchers


async def test_the_end_of_the_store_ends_watches(world: Any, session: aiohttp.ClientSession) -> None:
    async with watch(session, resourceVersion=world.store.resource_version) as events:
        await world.eventually(lambda: len(world.store._watchers) == 1)
        for queue in world.store._watchers:
            queue.put_nowait(None)
        await events.end()
