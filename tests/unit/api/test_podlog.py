"""Logs: whose, which run of it, and how the lines come out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from reconciler.api.client import ApiError
from reconciler.api.failures import Failure
from reconciler.api.podlog import choose_container, logged_container_id, render_time
from reconciler.model.ref import Ref
from reconciler.ports import LogLine

NOON = 1795435200.0
LOG = "/api/v1/namespaces/default/pods/{}/log"


def lines(*texts: str) -> list[LogLine]:
    return [LogLine(NOON + at, "stdout", text.encode()) for at, text in enumerate(texts)]


@pytest.fixture
async def web(world: Any) -> Any:
    """A pod `web` with a container `app` that has written three lines, and a pod `two` of two containers."""
    world.declare(world.pod("web"), world.pod("two", "a", "b", initContainers=[{"name": "i", "image": "i:1"}]))
    world.store.set_status(Ref("Pod", "default", "web"), world.running("web"))
    world.store.set_status(Ref("Pod", "default", "two"), world.running("two", "a", "b"))
    world.containers.lines["web-app"] = lines("one", "two", "three")
    return world


async def read(world: Any, pod: str = "web", **query: Any) -> bytes:
    return b"".join(await asyncio.to_thread(lambda: list(world.client.lines(LOG.format(pod), **query))))


async def test_all_of_it(web: Any) -> None:
    assert await read(web) == b"one\ntwo\nthree\n"
    assert web.containers.asked == [{"id": "web-app", "follow": False, "tail": None, "since": None}]


async def test_options_reach_the_runtime(web: Any) -> None:
    assert await read(web, tailLines=1, sinceSeconds=60) == b"three\n"
    assert web.containers.asked == [{"id": "web-app", "follow": False, "tail": 1, "since": web.clock.at - 60}]


async def test_timestamps(web: Any) -> None:
    assert (await read(web, timestamps=True)).splitlines()[1] == b"2026-11-23T12:00:01.000000000Z two"


async def test_a_line_in_parts_has_one_time_and_one_end(web: Any) -> None:
    web.containers.lines["web-app"] = [
        LogLine(NOON, "stdout", b"ab", complete=False),
        LogLine(NOON + 1, "stdout", b"cd"),
        LogLine(NOON + 2, "stdout", b"\xff\x00\r", complete=False),
    ]
    assert await read(web, timestamps=True) == (
        b"2026-11-23T12:00:00.000000000Z abcd\n2026-11-23T12:00:02.000000000Z \xff\x00\r"
    )


@pytest.mark.parametrize(("limit", "expected"), [(1, b"o"), (4, b"one\n"), (6, b"one\ntw"), (99, b"one\ntwo\nthree\n")])
async def test_limit_bytes(web: Any, limit: int, expected: bytes) -> None:
    assert await read(web, limitBytes=limit) == expected


async def test_following(web: Any) -> None:
    seen: list[bytes] = []

    def follow() -> None:
        seen.extend(web.client.lines(LOG.format("web"), follow=True))

    reading = asyncio.ensure_future(asyncio.to_thread(follow))
    await web.eventually(lambda: len(seen) == 3 and web.containers.followers == 1)
    began = time.monotonic()
    await web.containers.add("web-app", *lines("four"))
    await web.containers.end("web-app")
    await asyncio.wait_for(reading, 5)
    assert time.monotonic() - began < 0.5
    assert seen == [b"one\n", b"two\n", b"three\n", b"four\n"]


async def test_following_shows_each_line_at_once(web: Any) -> None:
    stream = web.client.lines(LOG.format("web"), follow=True)
    assert await asyncio.wait_for(asyncio.to_thread(next, stream), 5) == b"one\n"
    await asyncio.to_thread(stream.close)
    await web.eventually(lambda: web.containers.followers == 0)  # hanging up ends it inside


async def test_a_daemon_that_stops_ends_following_properly(web: Any) -> None:
    reading = asyncio.ensure_future(read(web, follow=True))
    await web.eventually(lambda: web.containers.followers == 1)
    began = time.monotonic()
    await web.listener.aclose()
    assert await asyncio.wait_for(reading, 5) == b"one\ntwo\nthree\n"
    assert time.monotonic() - began < 1


async def test_a_log_that_is_gone_says_so_in_its_place(web: Any) -> None:
    del web.containers.lines["web-app"]
    assert await read(web) == b"unable to retrieve container logs: container web-app has no log\n"


async def test_refusals(web: Any) -> None:
    for pod, query, code, sentence in (
        ("gone", {}, 404, 'pods "gone" not found'),
        ("two", {}, 400, "a container name must be specified for pod two, choose one of: [a b] or one of the init"),
        ("two", {"container": "x"}, 400, "container x is not valid for pod two"),
        ("two", {"container": "i"}, 400, 'container "i" in pod "two" is not available'),
        ("web", {"previous": True}, 400, 'previous terminated container "app" in pod "web" not found'),
        ("web", {"tailLines": -1}, 422, 'PodLogOptions "web" is invalid: tailLines'),
    ):
        with pytest.raises(ApiError) as caught:
            await read(web, pod, **query)
        assert caught.value.code == code
        assert sentence in str(caught.value)


def a_pod(*, init: bool = False, **status: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "app"}]}
    if init:
        spec["initContainers"] = [{"name": "i"}]
    found = {"containerStatuses": [{"name": "app", **status}]} if status else {}
    return {"metadata": {"name": "web"}, "spec": spec, "status": found}


RUNNING = {"state": {"running": {}}, "containerID": "reconciler://now"}
ENDED = {"terminated": {"containerID": "reconciler://dead", "exitCode": 1}}


@pytest.mark.parametrize(
    ("pod", "previous", "expected"),
    [
        (a_pod(**RUNNING), False, "now"),
        (a_pod(**RUNNING, lastState=ENDED), False, "now"),
        (a_pod(**RUNNING, lastState=ENDED), True, "dead"),
        (a_pod(state=ENDED), False, "dead"),
        (a_pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ENDED), False, "dead"),
        (a_pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ENDED), True, "dead"),
        (a_pod(state={"terminated": {"exitCode": 1}}, lastState=ENDED), False, "dead"),
    ],
)
def test_which_run(pod: dict[str, Any], previous: bool, expected: str) -> None:
    assert logged_container_id(pod, "app", previous=previous) == expected


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        (a_pod(), 'container "app" in pod "web" is not available'),
        (a_pod(state={"waiting": {"reason": "ErrImagePull"}}), "is waiting to start: image can't be pulled"),
        (a_pod(state={"waiting": {"reason": "ImagePullBackOff"}}), "is waiting to start: trying and failing to pull"),
        (a_pod(state={"waiting": {"reason": "ContainerCreating"}}), "is waiting to start: ContainerCreating"),
        (a_pod(state={"terminated": {"exitCode": 1}}), 'container "app" in pod "web" is terminated'),
        (a_pod(state={}), 'container "app" in pod "web" is waiting to start - no logs yet'),
    ],
)
def test_no_run_to_show(pod: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Failure) as caught:
        logged_container_id(pod, "app", previous=False)
    assert sentence in str(caught.value)


def test_the_only_container_needs_no_name() -> None:
    assert choose_container(a_pod(), "") == "app"
    assert choose_container(a_pod(init=True), "") == "app"
    assert choose_container(a_pod(init=True), "i") == "i"


def test_times_have_nine_digits() -> None:
    assert render_time(NOON + 0.25) == "2026-11-23T12:00:00.250000000Z"
    assert render_time(NOON + 0.9999999999) == "2026-11-23T12:00:01.000000000Z"
