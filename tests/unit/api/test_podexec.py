"""Exec over a WebSocket: with our own client, and byte by byte as other clients speak it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from reconciler.api.client import ApiError
from reconciler.api.failures import Failure
from reconciler.api.podexec import exit_status, parse_size, running_container_id
from reconciler.model.ref import Ref

EXEC = "/api/v1/namespaces/default/pods/web/exec"


@pytest.fixture
async def web(world: Any) -> Any:
    world.declare(world.pod("web"), world.pod("new"))
    world.store.set_status(Ref("Pod", "default", "web"), world.running("web"))
    return world


async def run(world: Any, talk: Callable[[Any], Any], **options: Any) -> Any:
    """Run `sh` in the pod through our own client, on a thread of its own."""

    def work() -> Any:
        with world.client.exec("default", "web", ["sh"], **options) as connection:
            return talk(connection)

    return await asyncio.wait_for(asyncio.to_thread(work), 10)


def whole(connection: Any) -> tuple[bytes, bytes, int]:
    out: dict[int, bytes] = {1: b"", 2: b""}
    for channel, data in connection.output():
        out[channel] += data
    return out[1], out[2], connection.exit_code


async def test_output_and_exit_code(web: Any) -> None:
    async def script(session: Any) -> int:
        session.print(b"out")
        session.print(b"err", 2)
        session.print(b"x" * 200_000)  # more than a frame of either length form
        return 42

    web.containers.script = script
    assert await run(web, whole) == (b"out" + b"x" * 200_000, b"err", 42)
    assert web.containers.asked == [{"id": "web-app", "command": ("sh",), "tty": False, "stdin": False}]


async def test_input_until_its_end(web: Any) -> None:
    async def script(session: Any) -> int:
        while (data := await session.stdin.get()) is not None:
            session.print(data.upper())
        session.print(b"end")
        return 0

    web.containers.script = script

    def talk(connection: Any) -> tuple[bytes, bytes, int]:
        for text in (b"a", b"b" * 300, b"c" * 70_000):
            connection.write(text)
        connection.close_stdin()
        return whole(connection)

    assert await run(web, talk, stdin=True) == (b"A" + b"B" * 300 + b"C" * 70_000 + b"end", b"", 0)


async def test_terminal_and_its_size(web: Any) -> None:
    async def script(session: Any) -> int:
        await session.stdin.get()
        return 0 if session.tty and session.sizes == [(80, 24), (132, 50)] else 1

    web.containers.script = script

    def talk(connection: Any) -> int:
        connection.resize(80, 24)
        connection.resize(132, 50)
        connection.write(b"\n")
        return whole(connection)[2]

    assert await run(web, talk, stdin=True, tty=True) == 0


async def test_a_command_that_cannot_start(web: Any) -> None:
    with pytest.raises(ApiError, match="executable file not found") as caught:
        await run(web, whole)
    assert caught.value.reason == "InternalError"


async def test_a_container_that_does_not_run(web: Any) -> None:
    with pytest.raises(ApiError, match='"app" in pod "new" is not running: it has not started yet') as caught:
        await asyncio.to_thread(web.client.exec, "default", "new", ["ls"])
    assert caught.value.code == 400


async def test_hanging_up_kills_the_command(web: Any) -> None:
    async def script(session: Any) -> int:
        session.print(b"started")
        await asyncio.sleep(60)
        return 0

    web.containers.script = script
    await run(web, lambda connection: next(connection.output()))
    await web.eventually(lambda: web.containers.sessions[0].killed.is_set())


async def test_a_daemon_that_stops_says_so_and_kills_the_command(web: Any) -> None:
    async def script(session: Any) -> int:
        await asyncio.sleep(60)
        return 0

    web.containers.script = script
    running = asyncio.ensure_future(run(web, whole))
    await web.eventually(lambda: len(web.containers.sessions) == 1)
    began = time.monotonic()
    await web.listener.aclose()
    with pytest.raises(ApiError, match="the daemon stops"):
        await running
    assert time.monotonic() - began < 1
    assert web.containers.sessions[0].killed.is_set()


async def connect(world: Any, *protocols: str, **query: Any) -> tuple[aiohttp.ClientSession, Any]:
    session = aiohttp.ClientSession("http://api", connector=aiohttp.UnixConnector(str(world.socket)))
    params = [("command", "sh"), *((name, str(value)) for name, value in query.items())]
    return session, await session.ws_connect(EXEC, params=params, protocols=protocols)


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
async def test_frames(web: Any, protocol: str) -> None:
    async def script(session: Any) -> int:
        session.print(await session.stdin.get())
        session.print(b"no", 2)
        return 3

    web.containers.script = script
    session, socket = await connect(web, "v1.weird", protocol, stdin=1, stdout=1, stderr=1)
    async with session:
        assert socket.protocol == protocol
        await socket.send_str("not binary: of no interest")
        await socket.send_bytes(b"")
        await socket.send_bytes(b"\x09unknown channel")
        await socket.send_bytes(b"\x04nonsense")
        await socket.send_bytes(b"\x00hi")
        received = [message async for message in socket]
    assert all(message.type is WSMsgType.BINARY for message in received)
    assert [message.data for message in received[:2]] == [b"\x01hi", b"\x02no"]
    assert received[2].data[0] == 3
    assert json.loads(received[2].data[1:]) == exit_status(3)
    assert socket.close_code == 1000


async def test_only_the_channels_that_were_asked_for(web: Any) -> None:
    async def script(session: Any) -> int:
        session.print(b"out")
        session.print(b"err", 2)
        return 0

    web.containers.script = script
    session, socket = await connect(web, "v4.channel.k8s.io", stderr=1)
    async with session:
        received = [message.data async for message in socket]
    assert received[0] == b"\x02err"
    assert received[1][0] == 3


async def test_a_client_of_another_protocol_is_turned_away(web: Any) -> None:
    session, socket = await connect(web, "channel.k8s.io", stdout=1)
    async with session:
        closing = await socket.receive()
    assert (closing.type, closing.data) == (WSMsgType.CLOSE, 1002)
    assert not web.containers.asked


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_an_upgrade(web: Any, method: str) -> None:
    with pytest.raises(ApiError, match="exec speaks WebSocket only"):
        await asyncio.to_thread(web.client.request, method, EXEC, query={"command": "ls", "stdout": True})


def test_exit_status() -> None:
    assert exit_status(0) == {"metadata": {}, "status": "Success"}
    assert exit_status(137)["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b'{"Width":80,"Height":24}', (80, 24)),
        (b'{"Width":0,"Height":24}', None),
        (b'{"Width":80,"Height":99999}', None),
        (b'{"Width":80}', None),
        (b"[]", None),
        (b"x", None),
        (b"\xff", None),
    ],
)
def test_sizes(data: bytes, size: tuple[int, int] | None) -> None:
    assert parse_size(data) == size


def test_why_a_container_does_not_run() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod = {"metadata": {"name": "web"}, "status": {"containerStatuses": [{"name": "app", "state": state}]}}
    with pytest.raises(Failure, match="is not running: CrashLoopBackOff"):
        running_container_id(pod, "app")
