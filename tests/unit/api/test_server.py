"""The listeners: who may open them, what they answer when all else fails, and how they stop."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from reconciler.api.client import ApiError, Client
from reconciler.api.server import build_app, build_metrics_app, listen_tcp, listen_unix
from reconciler.errors import ConflictError, HostError


async def test_only_its_user_may_open_the_socket(world: Any) -> None:
    mode = os.stat(world.socket).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_a_socket_that_is_left_over_is_replaced(world: Any, tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = await listen_unix(build_app(world.backend), path)
    assert (await asyncio.to_thread(Client(path).get, "/version"))["major"] == "1"
    await listener.aclose()
    assert not path.exists()


async def test_a_path_longer_than_an_address_may_be(world: Any, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    listener = await listen_unix(build_app(world.backend), folder / "api.sock")
    assert (await asyncio.to_thread(Client(folder / "api.sock").get, "/api"))["kind"] == "APIVersions"
    await listener.aclose()
    assert not list(folder.iterdir())


async def test_a_folder_that_is_not_there(world: Any, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"api\.sock: cannot listen: No such file"):
        await listen_unix(build_app(world.backend), tmp_path / "gone" / "api.sock")


async def test_metrics_and_health(world: Any) -> None:
    world.backend.telemetry.in_sync.set(1)
    listener = await listen_tcp(build_metrics_app(world.backend), "127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.port}") as session:
        async with session.get("/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert "reconciler_in_sync 1.0" in (await answer.text()).splitlines()
        for path, which in (("/healthz", "health"), ("/readyz", "readiness")):
            async with session.get(path) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
            world.faults[which] = "the loop is stuck"
            async with session.get(path) as answer:
                assert (answer.status, await answer.text()) == (503, "the loop is stuck\n")
        for path in ("/api/v1/pods", "/apis/reconciler.io/v1alpha1/status", "/"):
            async with session.get(path) as answer:
                assert answer.status == 404  # the API is not on TCP
    await listener.aclose()


async def test_an_address_that_is_taken(world: Any) -> None:
    app = build_metrics_app(world.backend)
    listener = await listen_tcp(app, "127.0.0.1", 0)
    with pytest.raises(ConflictError, match=rf"127\.0\.0\.1:{listener.port} is already taken") as caught:
        await listen_tcp(build_metrics_app(world.backend), "127.0.0.1", listener.port)
    assert caught.value.reason == "AddressInUse"
    await listener.aclose()


async def test_an_address_of_another_machine(world: Any) -> None:
    with pytest.raises(HostError, match=r"192\.0\.2\.1:9850: cannot listen"):
        await listen_tcp(build_metrics_app(world.backend), "192.0.2.1", 9850)


async def test_a_fault_of_ours_says_nothing_about_itself(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(ref: Any = None) -> Any:
        raise RuntimeError("password=hunter2")

    world.runtime.observe = broken
    with pytest.raises(ApiError, match="the daemon's log has more") as caught:
        await world.get("/apis/reconciler.io/v1alpha1/containers")
    assert (caught.value.code, caught.value.reason) == (500, "InternalError")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" in caplog.text


async def test_a_method_that_is_not_there(world: Any) -> None:
    with pytest.raises(ApiError, match="PUT is not allowed here, only POST") as caught:
        await asyncio.to_thread(world.client.request, "PUT", "/apis/reconciler.io/v1alpha1/diff", {})
    assert caught.value.reason == "MethodNotAllowed"


async def test_stopping_waits_a_moment_and_no_longer(world: Any) -> None:
    async def slow(ref: Any = None) -> Any:
        await asyncio.sleep(60)

    world.runtime.observe = slow
    asking = asyncio.ensure_future(world.get("/apis/reconciler.io/v1alpha1/containers"))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await world.listener.aclose()
    assert time.monotonic() - began < 1.5
    with pytest.raises(Exception, match=r"hung up|broke off"):
        await asking
    assert not world.socket.exists()


async def test_a_stream_that_breaks_is_not_taken_for_one_that_ended(world: Any) -> None:
    world.declare(world.pod("web"))

    def watch() -> list[Any]:
        return list(world.client.stream("GET", "/api/v1/pods", watch=True))

    record = next(iter(world.store.list("Pod")))
    watching = asyncio.ensure_future(asyncio.to_thread(watch))
    await world.eventually(lambda: len(world.store._watchers) == 1)
    for queue in world.store._watchers:
        queue.put_nowait(record)  # not a change
    with pytest.raises(Exception, match="broke off"):
        await asyncio.wait_for(watching, 5)
