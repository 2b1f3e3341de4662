"""Network namespaces that live without a process: pinned by a bind mount on a file.

A thread enters them, not a process: `ip netns`, and pyroute2's `NetNS` too, start one each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from reconciler.runtimes.native import kernel

_CLONE_NEWNET = 0x40000000
_OF_THIS_THREAD = "/proc/thread-self/ns/net"


@contextmanager
def entered(path: Path | None) -> Iterator[int]:
    """Run the body in the namespace pinned at `path`, or in a new one; only this thread goes there.

    Yields a file descriptor of the namespace, open during the body.
    Raises: OSError.
    """
    home = os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(path)
        try:
            here = os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield here
            finally:
                os.close(here)
        finally:
            kernel.setns(home, _CLONE_NEWNET)
    finally:
        os.close(home)


def pin(path: Path) -> None:
    """Keep the namespace of this thread alive at `path`. Raises: OSError."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    kernel.mount(_OF_THIS_THREAD, str(path), flags=kernel.MS_BIND)


def unpin(path: Path) -> None:
    """Undo `pin`, however often it was done, and remove the file. Nothing to do is fine. Raises: OSError."""
    while is_pinned(path):
        kernel.unmount(str(path))
    path.unlink(missing_ok=True)


def is_pinned(path: Path | str) -> bool:
    """Whether a namespace is mounted there: its device is the kernel's nsfs."""
    try:
        return os.stat(path).st_dev == _nsfs_device()
    except FileNotFoundError:
        return False


def _enter(path: Path | None) -> None:
    if path is None:
        kernel.unshare(_CLONE_NEWNET)
        return
    there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(there, _CLONE_NEWNET)
    finally:
        os.close(there)


@cache
def _nsfs_device() -> int:
    return os.stat(_OF_THIS_THREAD).st_dev
