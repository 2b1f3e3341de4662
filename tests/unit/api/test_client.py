"""The client against what it may meet on a socket, and what it costs to import."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.api.client import ApiError, Client, Unreachable
from reconciler.errors import ReconcilerError, TransientError

Peer = Callable[[bytes], Client]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """A server that answers every request with the same bytes, and hangs up."""
    threads: list[threading.Thread] = []
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "peer.sock"))
    listening.listen()

    def answer(content: bytes) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            with suppress(BrokenPipeError):  # a client that has had enough
                for at in range(0, len(content), 3):  # in small pieces: nothing may depend on how they arrive
                    connection.sendall(content[at : at + 3])

    def start(content: bytes) -> Client:
        threads.append(threading.Thread(target=answer, args=(content,)))
        threads[-1].start()
        return Client(tmp_path / "peer.sock", timeout_seconds=5)

    yield start
    for thread in threads:
        thread.join(5)
    listening.close()


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if end else b"")


def test_lengths_and_chunks(peer: Peer) -> None:
    assert peer(b'HTTP/1.1 200 OK\r\ncontent-LENGTH: 7\r\n\r\n{"a":1}').get("/") == {"a": 1}
    assert peer(chunked(b'{"a"', b":1", b"}")).get("/") == {"a": 1}
    assert peer(b"HTTP/1.1 204 No Content\r\n\r\n").get("/") is None


def test_lines_are_whole_however_they_arrive(peer: Peer) -> None:
    assert list(peer(chunked(b"a\nb", b"c\r\x0b\xff", b"\n\n", b"d")).lines("/")) == [
        b"a\n",
        b"bc\r\x0b\xff\n",
        b"\n",
        b"d",
    ]


def test_an_answer_that_breaks_off(peer: Peer) -> None:
    seen: list[bytes] = []
    with pytest.raises(TransientError, match="broke off: it hung up"):
        seen.extend(peer(chunked(b"a\n", end=False)).lines("/"))
    assert seen == [b"a\n"]


@pytest.mark.parametrize(
    "content", [b"", b"hello\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"x" * 99_999]
)
def test_something_that_is_not_the_daemon(peer: Peer, content: bytes) -> None:
    with pytest.raises(TransientError, match="broke off"):
        peer(content).get("/")


def test_a_refusal_without_a_status(peer: Peer) -> None:
    with pytest.raises(ApiError, match=r"^go away$") as caught:
        peer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\ngo away\n").get("/")
    assert (caught.value.code, caught.value.reason) == (403, "Unknown")


def test_nobody_listens(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sock", tmp_path / "no" / ("n" * 120) / "none.sock"):
        with pytest.raises(Unreachable, match=r"no daemon listens on .*none\.sock; start one with"):
            Client(path).get("/")


def test_somebody_who_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "mute.sock"))
        listening.listen()
        with pytest.raises(Unreachable, match=r"mute\.sock does not answer: timed out"):
            Client(tmp_path / "mute.sock", timeout_seconds=0.1).get("/")


def test_errors_are_ours() -> None:
    assert issubclass(ApiError, ReconcilerError)
    assert issubclass(Unreachable, ReconcilerError)


def test_importing_it_brings_nothing_heavy() -> None:
    heavy = ("aiohttp", "pydantic", "http.client", "ssl", "email", "asyncio", "prometheus_client", "yaml")
    code = f"import sys, reconciler.api.client; print([name for name in {heavy!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
