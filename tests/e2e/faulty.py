"""A registry that can disappoint: it stands in front of a real one, and spoils chosen answers.

with in_front_of(registry) as faulty:
    faulty.on(r"/blobs/", status(500), times=1)
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.registry import Registry


@dataclass
class Answer:
    """What goes back. `promised_bytes` is the length that is announced; the connection ends after the content."""

    code: int
    headers: dict[str, str]
    content: bytes
    promised_bytes: int
    bytes_per_second: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request: its path, and its Authorization."""

    path: str
    authorization: str


Spoil = Callable[[Asked, Answer], Answer]


@dataclass
class Rule:
    pattern: re.Pattern[str]
    spoil: Spoil
    left: int


@dataclass
class Faulty:
    """`host` is 127.0.0.1 and a port. `seen` are the requests that were made, `GET /v2/...`, in their order."""

    host: str
    seen: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)

    def on(self, pattern: str, spoil: Spoil, *, times: int = 1_000_000) -> None:
        """Spoil the answers to paths in which `pattern` is found. The first rule that is not used up counts."""
        self.rules.append(Rule(re.compile(pattern), spoil, times))

    def heal(self) -> None:
        self.rules.clear()

    def count(self, text: str) -> int:
        """How many requests mention `text`."""
        return sum(text in line for line in self.seen)


def status(code: int, error: str = "", headers: Mapping[str, str] | None = None) -> Spoil:
    """An error, as registries word it."""
    content = json.dumps({"errors": [{"code": error, "message": error.lower()}]}).encode() if error else b""
    return lambda asked, answer: Answer(
        code, {"Content-Type": "application/json", **(headers or {})}, content, len(content)
    )


def cut(after: float) -> Spoil:
    """The connection ends after this part of the content, whose whole length was announced."""

    def spoil(asked: Asked, answer: Answer) -> Answer:
        answer.content = answer.content[: int(len(answer.content) * after)]
        return answer

    return spoil


def truncated(asked: Asked, answer: Answer) -> Answer:
    """Some of the content is missing, and nothing tells."""
    answer.content = answer.content[: len(answer.content) // 2]
    answer.promised_bytes = len(answer.content)
    return answer


def flipped(asked: Asked, answer: Answer) -> Answer:
    """The last byte is another one."""
    answer.content = answer.content[:-1] + bytes([answer.content[-1] ^ 1])
    return answer


def slow(bytes_per_second: float) -> Spoil:
    def spoil(asked: Asked, answer: Answer) -> Answer:
        answer.bytes_per_second = bytes_per_second
        return answer

    return spoil


def content(value: Any, media_type: str) -> Spoil:
    """Something else altogether."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda asked, answer: Answer(200, {"Content-Type": media_type}, data, len(data))


@contextmanager
def in_front_of(registry: Registry) -> Iterator[Faulty]:
    """Serve `registry` with faults."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # a client that tries TLS first must be told at once that there is none
            if self.request.recv(1, socket.MSG_PEEK) == b"\x16":
                self.request.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here")
                self.request.recv(65536)
                return
            super().handle()

        def do_GET(self) -> None:
            faulty.seen.append(f"{self.command} {self.path}")
            asked = Asked(self.path, self.headers.get("Authorization", ""))
            answer = self._ask(registry.host)
            rule = next((rule for rule in faulty.rules if rule.left and rule.pattern.search(self.path)), None)
            if rule:
                rule.left -= 1
                answer = rule.spoil(asked, answer)
            self.send_response(answer.code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(answer.promised_bytes))
            self.end_headers()
            if self.command != "HEAD":
                self._send(answer)

        do_HEAD = do_GET

        def _ask(self, host: str) -> Answer:
            connection = http.client.HTTPConnection(host, timeout=30)
            try:
                connection.request(self.command, self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
                got = connection.getresponse()
                data = got.read()
                kept = {k: v for k, v in got.getheaders() if k.lower() in ("content-type", "docker-content-digest")}
                return Answer(got.status, kept, data, int(got.getheader("Content-Length") or len(data)))
            finally:
                connection.close()

        def _send(self, answer: Answer) -> None:
            step = max(1, int(answer.bytes_per_second / 20)) if answer.bytes_per_second else len(answer.content) or 1
            try:
                for start in range(0, len(answer.content), step):
                    self.wfile.write(answer.content[start : start + step])
                    self.wfile.flush()
                    if answer.bytes_per_second:
                        time.sleep(step / answer.bytes_per_second)
            except ConnectionError:
                self.close_connection = True
            if len(answer.content) < answer.promised_bytes:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    faulty = Faulty(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield faulty
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
