"""Container logs: the CRI's format as conmon writes it, and their rotation.

2026-11-23T17:26:00.123456789+00:00 stdout F a whole line
2026-11-23T17:26:00.123456789+00:00 stderr P the first part of a longer one
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path

from reconciler.ports import LogLine

MAX_BYTES = 10 << 20
MAX_FILES = 5
_CHUNK_BYTES = 1 << 16
_LOOK_SECONDS = 0.1  # how often a followed log is looked at


def parse_line(line: bytes) -> LogLine | None:
    """One line of the file, without its newline; None when it is not in the format."""
    stamp, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if stream not in (b"stdout", b"stderr") or tag[:1] not in (b"F", b"P"):
        return None
    try:
        at = _seconds(stamp.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    return LogLine(at, stream.decode(), text, complete=tag[:1] == b"F")


def _seconds(stamp: str) -> float:
    """RFC 3339 with nanoseconds; Python reads microseconds."""
    head, dot, tail = stamp.partition(".")
    if not dot:
        return datetime.fromisoformat(stamp).timestamp()
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return datetime.fromisoformat(head + tail[digits:]).timestamp() + float(f"0.{tail[:digits] or '0'}")


def files(log: Path) -> list[Path]:
    """The files of a log, the oldest first: `log.4` ... `log.1`, `log`."""
    rotated = [log.with_name(f"{log.name}.{number}") for number in range(MAX_FILES - 1, 0, -1)]
    return [path for path in [*rotated, log] if path.exists()]


def rotate(log: Path, control: Path, *, max_bytes: int = MAX_BYTES) -> bool:
    """Move a log that is too large aside, drop the oldest, and have the monitor open a new file.

    Nothing is lost: until it opens the new one the monitor writes to the moved file. Idempotent.
    """
    try:
        if log.stat().st_size < max_bytes:
            return False
        descriptor = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no log yet; or no monitor that reads
        return False
    try:
        for number in range(MAX_FILES - 1, 0, -1):
            older = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
            if older.exists():
                older.rename(log.with_name(f"{log.name}.{number}"))
        os.write(descriptor, b"2 0 0\n")
    finally:
        os.close(descriptor)
    return True


async def read(
    log: Path, *, follow: bool, tail: int | None, since: float | None, ended: Callable[[], bool]
) -> AsyncIterator[LogLine]:
    """The lines of a log, over its rotated files; with `follow` until `ended` and all is read."""
    was_over = ended()
    with contextlib.closing(_Reader(log)) as reader:
        async for line in _lines(reader, follow, tail, since, ended, was_over):
            yield line


async def _lines(
    reader: _Reader, follow: bool, tail: int | None, since: float | None, ended: Callable[[], bool], was_over: bool
) -> AsyncIterator[LogLine]:
    first = [line for line in reader.lines() if since is None or line.at >= since]
    for line in _last(first, tail) if tail is not None else first:
        yield line
    while follow:
        found = False
        for line in reader.lines():
            found = True
            if since is None or line.at >= since:
                yield line
        if not found:
            if was_over:
                break
            was_over = ended()
            if not was_over:
                await asyncio.sleep(_LOOK_SECONDS)


def _last(lines: list[LogLine], count: int) -> list[LogLine]:
    """The last `count` lines, each with all its parts."""
    kept: deque[LogLine] = deque()
    whole = 0
    for line in reversed(lines):
        whole += line.complete or not kept
        if whole > count:
            break
        kept.appendleft(line)
    return list(kept)


class _Reader:
    """Reads what is there, remembers where it is, and goes on in the next file after a rotation."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._descriptor = -1
        self._inode = 0  # of the file that is open, or was last
        self._partial = b""

    def lines(self) -> Iterator[LogLine]:
        """Every whole line that has come since the last call."""
        while self._descriptor >= 0 or self._open_next():
            # asked before reading: once there is a newer file, nothing more comes into this one
            superseded = self._next() is not None
            while data := os.read(self._descriptor, _CHUNK_BYTES):
                *whole, self._partial = (self._partial + data).split(b"\n")
                yield from (parsed for line in whole if (parsed := parse_line(line)) is not None)
            if not superseded:
                return
            self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_next(self) -> bool:
        path = self._next()
        if path is None:
            return False
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._inode = os.fstat(self._descriptor).st_ino
        self._partial = b""
        return True

    def _next(self) -> Path | None:
        """The file after the one that was read last; the oldest when that one is gone or there was none."""
        there = []
        for path in files(self._log):
            try:
                there.append((path, path.stat().st_ino))
            except FileNotFoundError:
                continue
        inodes = [inode for _, inode in there]
        start = inodes.index(self._inode) + 1 if self._inode in inodes else 0
        return there[start][0] if start < len(there) else None
