"""Commands run inside a running container: `exec`, with and without a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import secrets
import signal
import struct
import subprocess
import termios
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import TerminalError
from reconciler.ports import ExecSession
from reconciler.runtimes.native.launcher import Launcher
from reconciler.runtimes.native.oci import Oci, shorten

_START_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16
_PENDING_CHUNKS = 16
_DRAIN_SECONDS = 0.5  # a process in the background may hold the output open for ever
_STDOUT, _STDERR = 1, 2


async def start(
    launcher: Launcher,
    oci: Oci,
    bundle: Path,
    container_id: str,
    command: Sequence[str],
    *,
    tty: bool,
    stdin: bool,
) -> ExecSession:
    """Run `command` as the container's own user, with its environment and limits.

    Raises: TerminalError(reason="ExecFailed") with the runtime's words, OSError.
    """
    started = await launcher.run(_start, oci, bundle, container_id, command, tty, stdin)
    return Session(started)


@dataclass(frozen=True, slots=True)
class _Started:
    """The runtime's process, that of the command in the container, and our ends of its stdio.
    With a terminal `stdin` and the only output are the same descriptor."""

    runtime: subprocess.Popen[bytes]
    pid: int
    stdin: int | None
    outputs: tuple[tuple[int, int], ...]  # (1 or 2, descriptor)
    tty: bool


class Session(ExecSession):
    """See ports.ExecSession. Belongs to the event loop it was made in."""

    def __init__(self, started: _Started) -> None:
        self._started = started
        self._stdin = started.stdin
        self._chunks: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(_PENDING_CHUNKS)
        self._pumps = [asyncio.create_task(self._pump(*output)) for output in started.outputs]
        self._waiter = asyncio.create_task(self._wait())

    async def write(self, data: bytes) -> None:
        while data and self._stdin is not None:
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                await _ready(self._stdin, writing=True)
            except OSError:  # the command reads no more
                return

    async def close_stdin(self) -> None:
        if self._stdin is None:
            return
        if self._started.tty:
            await self.write(b"\x04")
        else:
            os.close(self._stdin)
        self._stdin = None

    async def resize(self, columns: int, rows: int) -> None:
        if not self._started.tty:
            return
        size = struct.pack("HHHH", rows, columns, 0, 0)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._started.outputs[0][1], termios.TIOCSWINSZ, size)
        # crun does not hand the new size on: tell the terminal inside
        for number in range(3):
            with contextlib.suppress(OSError):
                path = f"/proc/{self._started.pid}/fd/{number}"
                inside = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(inside, termios.TIOCSWINSZ, size)
                    return
                finally:
                    os.close(inside)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        open_outputs = len(self._pumps)
        while open_outputs:
            chunk = await self._chunks.get()
            if chunk is None:
                open_outputs -= 1
            else:
                yield chunk

    async def wait(self) -> int:
        return await asyncio.shield(self._waiter)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._started.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self.wait()
                return
        self._started.runtime.kill()
        await self.wait()

    async def _wait(self) -> int:
        runtime = self._started.runtime
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(runtime.pid)
            try:
                await _ready(descriptor)
            finally:
                os.close(descriptor)
        code = runtime.wait()
        asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._give_up)
        return code if code >= 0 else 128 - code

    def _give_up(self) -> None:
        for pump in self._pumps:
            pump.cancel()

    async def _pump(self, stream: int, descriptor: int) -> None:
        try:
            while True:
                try:
                    data = os.read(descriptor, _CHUNK_BYTES)
                except BlockingIOError:
                    await _ready(descriptor)
                    continue
                except OSError:  # a terminal whose other end is closed
                    break
                if not data:
                    break
                await self._chunks.put((stream, data))
        finally:
            if self._started.tty:
                self._stdin = None
            os.close(descriptor)
            await self._chunks.put(None)


async def _ready(descriptor: int, *, writing: bool = False) -> None:
    """Wait until a descriptor can be read, or written."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)


def _start(oci: Oci, bundle: Path, container_id: str, command: Sequence[str], tty: bool, stdin: bool) -> _Started:
    name = f"exec-{secrets.token_hex(4)}"
    specification, pid_file = bundle / f"{name}.json", bundle / f"{name}.pid"
    process = json.loads((bundle / "config.json").read_bytes())["process"]
    process |= {"args": list(command), "terminal": tty}
    if tty and not any(entry.startswith("TERM=") for entry in process["env"]):
        process["env"].append("TERM=xterm")
    ours: list[int] = []
    theirs: list[int] = []
    try:
        with open(specification, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(json.dumps(process))
        if tty:
            master, slave = pty.openpty()
            ours, theirs = [master], [slave, slave, slave]
        else:
            read, write = os.pipe()
            out, out_write = os.pipe()
            err, err_write = os.pipe()
            ours, theirs = [write, out, err], [read, out_write, err_write]
        for descriptor in ours:
            os.set_blocking(descriptor, False)
        runtime = subprocess.Popen(
            oci.command("exec", "--process", str(specification), "--pid-file", str(pid_file), container_id),
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            start_new_session=True,
        )
        for descriptor in set(theirs):
            os.close(descriptor)
        theirs = []
        pid = _started_pid(runtime, pid_file, ours[-1])
        if tty:
            return _Started(runtime, pid, ours[0], ((_STDOUT, ours[0]),), tty)
        write, out, err = ours
        if not stdin:
            os.close(write)
        return _Started(runtime, pid, write if stdin else None, ((_STDOUT, out), (_STDERR, err)), tty)
    except BaseException:
        for descriptor in {*ours, *theirs}:
            os.close(descriptor)
        raise
    finally:
        specification.unlink(missing_ok=True)
        pid_file.unlink(missing_ok=True)


def _started_pid(runtime: subprocess.Popen[bytes], pid_file: Path, errors: int) -> int:
    """The command's process, once the runtime has started it."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        ended = runtime.poll() is not None
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(pid_file.read_text())
        if ended:
            words = b""
            with contextlib.suppress(OSError):
                words = os.read(errors, _CHUNK_BYTES)
            raise TerminalError(shorten(words.decode(errors="replace")), reason="ExecFailed")
        if time.monotonic() > deadline:
            runtime.kill()
            runtime.wait()
            raise TerminalError(f"the runtime did not start it in {_START_SECONDS:g} s", reason="ExecFailed")
        time.sleep(0.001)
