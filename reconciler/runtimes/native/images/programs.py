"""Running skopeo, buildah and our own unpacker: what they print, line by line, and never for ever.

Everything started here dies with this process, even when that is killed: setpriv(1) asks
the kernel for it. A program that neither prints nor moves a byte for `stall_seconds` is killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from reconciler.errors import HostError, TransientError

_MAX_LINE_BYTES = 64 << 10
_CHECK_SECONDS = 2.0


class Stalled(TransientError):
    """The program did nothing for too long, and was killed."""


class Program:
    """One run. Use as `async with`: at the end of the block nothing of it is left."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        namespaces: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        stall_seconds: float = 120.0,
        progress: Callable[[], object] = lambda: None,
        stdout: int | None = None,
    ) -> None:
        """`namespaces` are those it gets of its own ("mount", "pid", ...): what it mounts or starts in them
        ends with it. `progress()` returns something that changes while the program works silently.
        With a descriptor as `stdout` that output goes there whole, and the lines are those of stderr."""
        self.tail: deque[str] = deque(maxlen=40)
        self._argv, self._env, self._pass_fds = tuple(argv), env, tuple(pass_fds)
        self._wrapper = ["setpriv", "--pdeathsig", "KILL", "--"]
        if namespaces:
            pid = ("--fork", "--kill-child", "--mount-proc") if "pid" in namespaces else ()
            self._wrapper += ["unshare", *(f"--{kind}" for kind in namespaces), *pid, "--"]
        self._stall_seconds, self._progress = stall_seconds, progress
        self._stdout = stdout
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Program:
        for program, package in (("setpriv", "util-linux"), (self._argv[0], os.path.basename(self._argv[0]))):
            if shutil.which(program) is None:
                raise HostError(f"{program} is not installed; on Debian: apt install {package}")
        self._process = await asyncio.create_subprocess_exec(
            *(*self._wrapper, *self._argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if self._stdout is None else self._stdout,
            stderr=asyncio.subprocess.STDOUT if self._stdout is None else asyncio.subprocess.PIPE,
            env={**os.environ, **(self._env or {})},
            pass_fds=self._pass_fds,
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process and process.returncode is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if process:
            await process.wait()

    def written_bytes(self) -> int:
        """What it has written so far, to files and to sockets; 0 when it has ended."""
        assert self._process
        try:
            with open(f"/proc/{self._process.pid}/io") as counters:
                return int(dict(line.split(": ") for line in counters)["wchar"])
        except (OSError, KeyError):
            return 0

    async def lines(self) -> AsyncIterator[str]:
        """What it prints on both outputs, until it ends. Raises: Stalled."""
        output = self._process and (self._process.stdout or self._process.stderr)
        assert output
        pending = b""
        async for chunk in self._chunks(output):
            *done, pending = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
            if len(pending) > _MAX_LINE_BYTES:
                done, pending = [*done, pending], b""
            for raw in done:
                if line := raw.decode(errors="replace").rstrip():
                    self.tail.append(line)
                    yield line
        if line := pending.decode(errors="replace").rstrip():
            self.tail.append(line)
            yield line

    async def wait(self) -> int:
        """Take what it still prints, and return its exit code (negative: the signal). Raises: Stalled."""
        async for _ in self.lines():
            pass
        assert self._process
        return await self._process.wait()

    async def _chunks(self, stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        moved_at, seen = loop.time(), self._progress()
        while True:
            try:
                chunk = await asyncio.wait_for(stream.read(64 << 10), _CHECK_SECONDS)
            except TimeoutError:
                now_seen = await asyncio.to_thread(self._progress)
                if now_seen != seen:
                    moved_at, seen = loop.time(), now_seen
                elif loop.time() - moved_at > self._stall_seconds:
                    raise Stalled(
                        f"{os.path.basename(self._argv[0])} did nothing for {self._stall_seconds:.0f} s and was stopped"
                    ) from None
                continue
            if not chunk:
                return
            moved_at = loop.time()
            yield chunk
