"""This terminal, handed to a command that runs elsewhere: raw while it runs, whatever happens."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty as tty_modes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

STDOUT = 1
_CHUNK_BYTES = 65536


class Connection(Protocol):
    """A running command: api/exec_client.py."""

    def write(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def resize(self, columns: int, rows: int) -> None: ...
    def output(self) -> Iterator[tuple[int, bytes]]: ...
    @property
    def exit_code(self) -> int: ...


def relay(connection: Connection, *, stdin: bool, tty: bool) -> int:
    """Pass bytes both ways until the command ends. Returns: its exit code.

    Output is copied here; a thread feeds it standard input and the size of the terminal.
    """
    source = sys.stdin.fileno()
    with ExitStack() as stack:
        wake, waker = stack.enter_context(_pipe())
        if tty:
            stack.enter_context(_raw(source))
            stack.enter_context(_on_resize(waker))
            connection.resize(*os.get_terminal_size(source))
        if stdin or tty:
            feeder = threading.Thread(target=_feed, args=(connection, source, stdin, wake), name="stdin", daemon=True)
            feeder.start()
            stack.callback(_stop, feeder, waker)
        for channel, data in connection.output():
            stream = sys.stdout.buffer if channel == STDOUT else sys.stderr.buffer
            stream.write(data)
            stream.flush()
    return connection.exit_code


_RESIZED, _ENDED = bytes([signal.SIGWINCH]), b"\0"


def _feed(connection: Connection, source: int, stdin: bool, wake: int) -> None:
    """Send what is typed, and the size when it changes; end when told to, or nobody listens."""
    sources = [wake, source] if stdin else [wake]
    try:
        while True:
            ready, _, _ = select.select(sources, [], [])
            if wake in ready:
                if _ENDED in (signs := os.read(wake, _CHUNK_BYTES)):
                    return
                if _RESIZED in signs:
                    connection.resize(*os.get_terminal_size(source))
            if source in ready:
                if data := os.read(source, _CHUNK_BYTES):
                    connection.write(data)
                else:
                    connection.close_stdin()
                    sources.remove(source)
    except OSError:  # the command has ended, or the terminal is gone; `output` says which
        return


def _stop(feeder: threading.Thread, waker: int) -> None:
    os.write(waker, _ENDED)
    feeder.join(timeout=1)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    try:
        tty_modes.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextmanager
def _on_resize(waker: int) -> Iterator[None]:
    """Write `_RESIZED` to `waker` on SIGWINCH, from the signal itself: this thread waits for output, and a
    handler in Python would run only after that; nor may it send, for it may have interrupted a send."""
    before = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
    waker_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(waker_before)
        signal.signal(signal.SIGWINCH, before)
