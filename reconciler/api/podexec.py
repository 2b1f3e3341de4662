"""Exec into a container over a WebSocket, in Kubernetes' own framing, so that kubectl can too.

Each binary message is one byte of channel and then data: 0 stdin, 1 stdout, 2 stderr, 3 the
Status at the end, 4 the size of the terminal; v5 adds 255, which closes the channel it names.
Source: k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/client-go/tools/remotecommand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from reconciler.api.backend import Backend
from reconciler.api.failures import Failure, bad_request, internal_error
from reconciler.api.podlog import bare_id, choose_container, container_status
from reconciler.api.queries import ExecQuery, parse_exec
from reconciler.api.resources import POD
from reconciler.api.streams import Streams, json_line
from reconciler.api.watching import find
from reconciler.errors import ReconcilerError
from reconciler.model.ref import Ref
from reconciler.ports import ExecSession

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_MAX_MESSAGE_BYTES = 1 << 20
_HEARTBEAT_SECONDS = 30.0  # finds clients that vanished without a word


class PodExec:
    """The handler of `/exec`."""

    def __init__(self, backend: Backend, streams: Streams) -> None:
        self._backend = backend
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        path = f"{POD.root}/namespaces/{{namespace}}/pods/{{name}}/exec"
        return [web.get(path, self._exec), web.post(path, self._exec)]

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        query = parse_exec(request.query)
        pod = find(self._backend.store, POD, Ref("Pod", request.match_info["namespace"], request.match_info["name"]))
        container = choose_container(pod, query.container)
        container_id = running_container_id(pod, container)
        socket = web.WebSocketResponse(
            protocols=_PROTOCOLS, heartbeat=_HEARTBEAT_SECONDS, max_msg_size=_MAX_MESSAGE_BYTES, compress=False
        )
        if not socket.can_prepare(request):
            raise bad_request("Upgrade request required: exec speaks WebSocket only (v5.channel.k8s.io)")
        await socket.prepare(request)
        if socket.ws_protocol is None:
            await socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=b"speak v5.channel.k8s.io or v4.channel.k8s.io")
            return socket
        try:
            if not await self._streams.run(self._session(socket, container_id, query)):
                failure = Failure(503, "ServiceUnavailable", "the daemon stops, and has ended the command")
                await _send(socket, ERROR, json_line(failure.to_json()))
            await socket.close()
        except ConnectionError:
            pass  # the client hung up
        return socket

    async def _session(self, socket: web.WebSocketResponse, container_id: str, query: ExecQuery) -> None:
        """Run the command, and say in the end how it went. Its process is gone when this returns."""
        try:
            session = await self._backend.containers.exec(container_id, query.command, tty=query.tty, stdin=query.stdin)
        except ReconcilerError as error:
            failure = internal_error(f"error executing command in container: {error}")
            await _send(socket, ERROR, json_line(failure.to_json()))
            return
        listening = asyncio.ensure_future(_listen(socket, session, stdin=query.stdin))
        talking = asyncio.ensure_future(_talk(socket, session, query))
        try:
            await asyncio.wait({listening, talking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in (listening, talking):
                side.cancel()
            await asyncio.wait({listening, talking})
            await session.kill()
        for side in (listening, talking):
            if not side.cancelled():
                side.result()


async def _talk(socket: web.WebSocketResponse, session: ExecSession, query: ExecQuery) -> None:
    """Pass on what the command writes, and then its exit code."""
    wanted = {STDOUT: query.stdout, STDERR: query.stderr}
    async for channel, data in session.output():
        if wanted[channel]:
            await _send(socket, channel, data)
    await _send(socket, ERROR, json_line(exit_status(await session.wait())))


async def _listen(socket: web.WebSocketResponse, session: ExecSession, *, stdin: bool) -> None:
    """Pass on what the client sends, until it hangs up."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and stdin:
            await session.write(data)
        elif channel == RESIZE and (size := parse_size(data)):
            await session.resize(*size)
        elif channel == CLOSE and data == bytes([STDIN]):
            await session.close_stdin()


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    await socket.send_bytes(bytes([channel]) + data)


def parse_size(data: bytes) -> tuple[int, int] | None:
    """Read the size of a terminal: (columns, rows), None when it is none."""
    try:
        size = json.loads(data)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, TypeError, KeyError):
        return None
    return (columns, rows) if 0 < columns < 65536 and 0 < rows < 65536 else None


def exit_status(code: int) -> dict[str, Any]:
    """How a command ended, as the Status of channel 3."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def running_container_id(pod: Mapping[str, Any], container: str) -> str:
    """The id of a container of a pod that runs now. Raises: Failure."""
    name = pod["metadata"]["name"]
    status = container_status(pod, container)
    state: Mapping[str, Any] = (status or {}).get("state") or {}
    if status is None or "running" not in state:
        why = next((str(each.get("reason")) for each in state.values() if each.get("reason")), "it has not started yet")
        raise bad_request(f'container "{container}" in pod "{name}" is not running: {why}')
    return bare_id(status["containerID"])
