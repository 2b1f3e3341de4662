"""The client's end of an exec: a WebSocket in Kubernetes' v5.channel.k8s.io, on one socket.

Only what this needs of RFC 6455: binary messages, ping and close, no extensions.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from reconciler.api.client import Answer, api_error
from reconciler.errors import TransientError

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_BINARY, _PONG = 0x2, 0xA


def open_exec(connection: socket.socket, target: str) -> ExecConnection:
    """Upgrade a fresh connection to an exec. Takes `connection` over. Raises: ApiError."""
    head = (
        f"GET {target} HTTP/1.1\r\nHost: reconciler\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
        "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
    )
    try:
        connection.sendall(head.encode("ascii"))
        answer = Answer(connection)
        if answer.status != 101:
            raise api_error(answer.status, json.loads(b"".join(answer.chunks())))
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return ExecConnection(connection, answer)


class ExecConnection:
    """A command that runs in a container. One thread may send while another receives."""

    def __init__(self, connection: socket.socket, answer: Answer) -> None:
        self._connection = connection
        self._answer = answer
        self._sending = threading.Lock()
        self._exit_code: int | None = None

    def __enter__(self) -> ExecConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def write(self, data: bytes) -> None:
        """Give the command something to read. Raises: BrokenPipeError and the like once it has ended."""
        self._send(_BINARY, bytes([STDIN]) + data)

    def close_stdin(self) -> None:
        """Let the command see the end of its input."""
        self._send(_BINARY, bytes([CLOSE, STDIN]))

    def resize(self, columns: int, rows: int) -> None:
        """Tell the command's terminal its size."""
        self._send(_BINARY, bytes([RESIZE]) + json.dumps({"Width": columns, "Height": rows}).encode())

    def output(self) -> Iterator[tuple[int, bytes]]:
        """(1 or 2, data) until the command has ended and all is read; with a tty all is 1.

        Raises: ApiError when the command could not be started; TransientError when the daemon went away.
        """
        for message in self._messages():
            channel, data = message[0], message[1:]
            if channel in (STDOUT, STDERR) and data:
                yield channel, data
            elif channel == ERROR and data:
                self._exit_code = _exit_code(json.loads(data))

    @property
    def exit_code(self) -> int:
        """Of the command, once `output` has ended. Raises: TransientError when the daemon did not say."""
        if self._exit_code is None:
            raise TransientError("the daemon hung up before the command had ended", reason="DaemonGone")
        return self._exit_code

    def _messages(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        while True:
            first, second = self._read(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(self._read(2 if size == 126 else 8))
            payload = self._read(size)
            match first & 0x0F:
                case 0x8:  # close
                    return
                case 0x9:  # ping
                    self._send(_PONG, payload)
                case 0x0 | 0x1 | 0x2:
                    parts.append(payload)
                    if first & 0x80:
                        if message := b"".join(parts):
                            yield message
                        parts.clear()

    def _read(self, size: int) -> bytes:
        return b"".join(self._answer.pieces(size))

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = bytes([0x80 | 126]) + size.to_bytes(2)
        else:
            length = bytes([0x80 | 127]) + size.to_bytes(8)
        mask = os.urandom(4)
        stream = int.from_bytes((mask * (size // 4 + 1))[:size])
        masked = (int.from_bytes(payload) ^ stream).to_bytes(size)
        with self._sending:
            self._connection.sendall(bytes([0x80 | opcode]) + length + mask + masked)


def _exit_code(status: Mapping[str, Any]) -> int:
    """Read the Status of channel 3. Raises: ApiError when it is not about an exit code."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise api_error(status.get("code") or 500, status)
