"""The way into a running daemon, for the command line: HTTP over its unix socket.

Every verb imports this, so it stands on `socket` and `json` alone: `http.client` brings
the email package and ssl along, which takes longer than a whole `reconciler ps` should.
It speaks the part of HTTP/1.1 that the daemon's own server answers with, and no more.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from reconciler.errors import HostError, ReconcilerError, TransientError

if TYPE_CHECKING:
    from reconciler.api.exec_client import ExecConnection

OWN = "/apis/reconciler.io/v1alpha1"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
ORDER_TYPE = "application/x-ndjson"
_LONGEST_SOCKET_PATH = 107  # bytes of sun_path, without its final NUL
_MAX_HEAD_BYTES = 65536

Query = Mapping[str, str | int | float | bool | Sequence[str] | None]


class Unreachable(HostError):
    """No daemon answers on the socket."""

    reason = "DaemonUnreachable"


class ApiError(ReconcilerError):
    """The daemon said no. `code` is the HTTP status, `reason` and the message are those of its Status;
    `causes` are sentences about each part of it, such as the problems of a manifest."""

    def __init__(self, message: str, *, code: int, reason: str, causes: Sequence[str] = ()) -> None:
        super().__init__(message, reason=reason)
        self.code = code
        self.causes = tuple(causes)


class Client:
    """One daemon. Each request has a connection of its own, so requests may overlap across threads."""

    def __init__(self, socket_path: str | os.PathLike[str], *, timeout_seconds: float = 30.0) -> None:
        """`timeout_seconds` bounds connecting and every wait for an answer, but not those of streams."""
        self._path = os.fspath(socket_path)
        self._timeout_seconds = timeout_seconds

    def get(self, path: str, *, table: bool = False, **query: Any) -> Any:
        """GET, parsed from JSON. With `table` objects come as a meta.k8s.io/v1 Table, kubectl's columns filled in.

        A query value of None is left out, True is "true", a list repeats its name.
        Raises: ApiError, Unreachable.
        """
        return self.request("GET", path, table=table, query=query)

    def request(
        self, method: str, path: str, body: Any = None, *, table: bool = False, query: Query | None = None
    ) -> Any:
        """One request and its JSON answer, None when it is empty. Raises: ApiError, Unreachable."""
        with self._open(method, path, body, query, table=table, timeout_seconds=self._timeout_seconds) as answer:
            content = b"".join(answer.chunks())
        return json.loads(content) if content else None

    def stream(self, method: str, path: str, body: Any = None, *, table: bool = False, **query: Any) -> Iterator[Any]:
        """The JSON values of an answer, line by line, as they come: watches and the progress of orders.

        Ends when the daemon ends it. Closing the iterator hangs up.
        Raises: ApiError, also for an error in the middle ({"error": Status}, or a watch's ERROR event); Unreachable;
        TransientError when an order (NDJSON) ends before it is done, because the daemon stops.
        """
        with self._open(method, path, body, query, table=table, timeout_seconds=None) as answer:
            done = False
            for line in _lines(answer.chunks()):
                value = json.loads(line)
                if value.get("type") == "ERROR":
                    raise api_error(value["object"]["code"], value["object"])
                if "error" in value:
                    raise api_error(value["error"]["code"], value["error"])
                done = "done" in value
                yield value
            if answer.headers.get("content-type") == ORDER_TYPE and not done:
                raise _broken_off("it stopped before this was done")

    def lines(self, path: str, **query: Any) -> Iterator[bytes]:
        """GET of text, line by line with its newline, as they come. Raises: ApiError, Unreachable."""
        with self._open("GET", path, None, query, timeout_seconds=None) as answer:
            yield from _lines(answer.chunks())

    def exec(
        self,
        namespace: str,
        pod: str,
        command: Sequence[str],
        *,
        container: str = "",
        stdin: bool = False,
        tty: bool = False,
    ) -> ExecConnection:
        """Run a command in a container of a pod. Raises: ApiError, Unreachable."""
        from reconciler.api.exec_client import open_exec

        query: Query = {
            "command": list(command),
            "container": container or None,
            "stdin": stdin or None,
            "stdout": True,
            "stderr": not tty or None,
            "tty": tty or None,
        }
        target = _target(f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/exec", query)
        return open_exec(self._connect(self._timeout_seconds), target)

    def _open(
        self,
        method: str,
        path: str,
        body: Any,
        query: Query | None,
        *,
        table: bool = False,
        timeout_seconds: float | None,
    ) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        accept = f"{TABLE},application/json" if table else "*/*"
        head = (
            f"{method} {_target(path, query)} HTTP/1.1\r\nHost: reconciler\r\nAccept: {accept}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection = self._connect(timeout_seconds)
        try:
            connection.sendall(head.encode("ascii") + content)
            answer = Answer(connection)
        except OSError as error:
            connection.close()
            raise Unreachable(f"the daemon on {self._path} does not answer: {error}") from error
        except BaseException:
            connection.close()
            raise
        if answer.status >= 400:
            with answer:
                content = b"".join(answer.chunks())
            try:
                status = json.loads(content)
            except ValueError:
                status = {"message": content.decode(errors="replace").strip()}
            raise api_error(answer.status, status)
        return answer

    def _connect(self, timeout_seconds: float | None) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_seconds)
        directory = None
        path = self._path
        try:
            if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
                directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
                path = f"/proc/self/fd/{directory}/{os.path.basename(path)}"
            connection.connect(path)
        except PermissionError as error:
            connection.close()
            raise Unreachable(
                f"may not open {self._path}: it belongs to the user who runs the daemon (root); use sudo"
            ) from error
        except OSError as error:
            connection.close()
            raise Unreachable(
                f"no daemon listens on {self._path}; start one with `reconciler watch DIR`, or name its --run-dir"
            ) from error
        finally:
            if directory is not None:
                os.close(directory)
        return connection


class Answer:
    """The answer to one request: its status and headers, and its body as it comes. Owns the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, status = head[0].partition(" ")
        if version != "HTTP/1.1" or not status[:3].isdigit():
            raise _broken_off("what listens there does not speak HTTP/1.1")
        self.status = int(status[:3])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def chunks(self) -> Iterator[bytes]:
        """The body, in the pieces in which it arrives. Raises: TransientError when it breaks off."""
        try:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                while size := int(self._until(b"\r\n"), 16):
                    yield from self.pieces(size)
                    self._until(b"\r\n")
            else:
                yield from self.pieces(int(self.headers.get("content-length", "0")))
        except OSError as error:
            raise _broken_off(str(error)) from error

    def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise _broken_off("a header without an end")
            self._receive()
        found, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
        return found

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._receive()
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise _broken_off("it hung up")
        self._buffer += data


def _broken_off(why: str) -> TransientError:
    return TransientError(f"the daemon's answer broke off: {why}", reason="DaemonGone")


def _target(path: str, query: Query | None) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if value is None:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        pairs += [(name, str(v).lower() if isinstance(v, bool) else str(v)) for v in values]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []  # of a line whose end has not come yet
    for chunk in chunks:
        first, newline, rest = chunk.partition(b"\n")
        while newline:
            yield b"".join((*parts, first, newline))
            parts.clear()
            first, newline, rest = rest.partition(b"\n")
        parts.append(first)
    if last := b"".join(parts):
        yield last


def api_error(code: int, status: Mapping[str, Any]) -> ApiError:
    """A Status object as an exception. `code` is what the answer had."""
    causes = (status.get("details") or {}).get("causes") or ()
    return ApiError(
        status.get("message") or f"HTTP status {code}",
        code=code,
        reason=status.get("reason") or "Unknown",
        causes=[cause["message"] for cause in causes],
    )
