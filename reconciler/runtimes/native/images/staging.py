"""Directories for work that may be cut short, removed by whoever comes next.

The owner, and the programs it starts, hold a lock on the directory for as long as they
live; a directory that nobody holds is a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import time
from pathlib import Path

_DYING_SECONDS = 5.0


class Staging:
    """One such directory, at `path`. All methods block. `fd` is the lock: hand it to children."""

    def __init__(self, parent: Path) -> None:
        while True:
            self.path = parent / secrets.token_hex(8)
            self.path.mkdir(mode=0o700)
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.fstat(self.fd).st_nlink:  # else a sweep came between the two lines above
                return
            os.close(self.fd)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all of it."""
        remove_tree(self.path)
        os.close(self.fd)


def remove_abandoned(parent: Path) -> None:
    """Remove what was left in `parent` by processes that are gone. Blocks, at most a few
    seconds for those that are just dying."""
    deadline = time.monotonic() + _DYING_SECONDS
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(parent.iterdir()):
            if not path.is_dir():
                path.unlink(missing_ok=True)
            elif (fd := _lock(path, deadline)) is not None:
                remove_tree(path)
                os.close(fd)


def remove_tree(path: Path) -> None:
    """Remove a directory that may hold anything, at any depth (recursion in Python would end). Blocks."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=False, stderr=subprocess.DEVNULL)


def _lock(path: Path, deadline: float) -> int | None:
    """The lock of a directory whose owner is gone; None when it lives."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                return None
            time.sleep(0.02)
