"""A terminal handed to a command elsewhere, on a real pty."""

from __future__ import annotations

import fcntl
import os
import pty
import queue
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.cli.exec import command as exec_command
from reconciler.cli.terminal import relay

PATIENCE_SECONDS = 5.0


class Echo:
    """A command that prints what it reads, until what it reads ends in `q`, or it reads the end; exits with 7."""

    def __init__(self) -> None:
        self.told: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.sizes: list[tuple[int, int]] = []
        self.printed = threading.Event()

    def write(self, data: bytes) -> None:
        self.told.put(("data", data))

    def close_stdin(self) -> None:
        self.told.put(("end", b""))

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def output(self) -> Iterator[tuple[int, bytes]]:
        yield 2, b"ready\n"
        self.printed.set()
        while True:
            what, data = self.told.get(timeout=PATIENCE_SECONDS)
            if what == "end":
                yield 1, b"<end>"
                return
            yield 1, data
            if data.endswith(b"q"):
                return

    @property
    def exit_code(self) -> int:
        return 7


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The far end of a pty that is standard input."""
    far, near = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(near, "r", closefd=False))
    yield far
    os.close(far)
    os.close(near)


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_without_a_terminal_bytes_pass_and_the_end_is_told(monkeypatch, capfd) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(read, "r"))
    os.write(write, b"hello")
    os.close(write)
    assert relay(Echo(), stdin=True, tty=False) == 7
    out, err = capfd.readouterr()
    assert (out, err) == ("hello<end>", "ready\n")


def test_a_terminal_is_raw_while_it_runs_and_as_before_afterwards(terminal: int, capfd) -> None:
    echo = Echo()
    before = termios.tcgetattr(sys.stdin.fileno())
    seen: list[Any] = []

    def type_keys() -> None:
        echo.printed.wait(PATIENCE_SECONDS)
        seen.append(termios.tcgetattr(sys.stdin.fileno()))
        os.write(terminal, b"\x03q")  # Ctrl-C is the command's own

    typing = in_thread(type_keys)
    assert relay(echo, stdin=True, tty=True) == 7
    typing.join(PATIENCE_SECONDS)
    assert not seen[0][3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert termios.tcgetattr(sys.stdin.fileno()) == before
    assert "\x03" in capfd.readouterr().out


def test_a_failure_leaves_the_terminal_as_it_was(terminal: int) -> None:
    class Failing(Echo):
        def output(self) -> Iterator[tuple[int, bytes]]:
            raise RuntimeError("gone")
            yield 1, b""

    before = termios.tcgetattr(sys.stdin.fileno())
    handler = signal.getsignal(signal.SIGWINCH)
    with pytest.raises(RuntimeError, match="gone"):
        relay(Failing(), stdin=True, tty=True)
    assert termios.tcgetattr(sys.stdin.fileno()) == before
    assert signal.getsignal(signal.SIGWINCH) == handler


def test_a_new_size_is_told(terminal: int) -> None:
    echo = Echo()

    def resize() -> None:
        echo.printed.wait(PATIENCE_SECONDS)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 121, 0, 0))
        os.kill(os.getpid(), signal.SIGWINCH)
        until(lambda: (121, 33) in echo.sizes)
        os.write(terminal, b"q")

    resizing = in_thread(resize)
    relay(echo, stdin=True, tty=True)
    resizing.join(PATIENCE_SECONDS)
    assert echo.sizes[-1] == (121, 33)


@pytest.mark.parametrize(
    ("arguments", "target", "words", "flags"),
    [
        (["web", "ls", "-la"], "web", ("ls", "-la"), ""),
        (["web", "--", "ls", "-la"], "web", ("ls", "-la"), ""),
        (["-it", "web", "sh", "-c", "a -- b"], "web", ("sh", "-c", "a -- b"), "it"),
        (["web", "-it", "--", "sh", "-c", "x"], "web", ("sh", "-c", "x"), "it"),
        (["web", "-i", "-c", "app", "--", "git", "log", "--", "file"], "web", ("git", "log", "--", "file"), "i"),
        (["web", "--", "git", "log", "--", "file"], "web", ("git", "log", "--", "file"), ""),
        (["-i", "web", "git", "log", "--", "file"], "web", ("git", "log", "--", "file"), "i"),
    ],
)
def test_dockers_order_and_kubectls(arguments: list[str], target: str, words: tuple[str, ...], flags: str) -> None:
    params = exec_command.make_context("exec", arguments).params
    assert (params["target"], params["words"]) == (target, words)
    assert (params["stdin"], params["tty"]) == ("i" in flags, "t" in flags)


@pytest.mark.parametrize("arguments", [[], ["web"], ["web", "--"], ["-it", "web"]])
def test_without_a_command_it_is_a_usage_error(run, arguments: list[str]) -> None:
    assert run("exec", *arguments).code == 2
