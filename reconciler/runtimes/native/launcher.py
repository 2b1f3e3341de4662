"""Where the OCI runtime and its monitors are started from.

crun 1.8 refuses hosts with both cgroup versions, and runs on them all the same when it does not
see the second one. So its threads live in a mount namespace of their own, in which that mount is
covered. A fork inherits the namespace of the thread: nothing is put in front of the program, and
conmon's own calls of the runtime go the same way. Mounts made on the host still arrive there, for
the run directory is shared with it; nothing goes back.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from reconciler.runtimes.native import kernel

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 6  # a runtime waits for the kernel more than it computes


class Launcher:
    """Threads from which programs are started. `hidden` is a mount that they do not see, or ""."""

    def __init__(self, hidden: str = "") -> None:
        self._hidden = hidden
        self._retired: list[ThreadPoolExecutor] = []
        self._open()

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in one of the threads; what it starts sees what the thread sees."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))

    async def show(self, path: str) -> None:
        """See to it that the threads see `path` of the host, and the mounts below it, as they are now.

        A host whose root is not a shared mount keeps later mounts to itself: then the threads are replaced.
        """
        if self._namespace is None:
            return
        if await self.run(_view, path) != await asyncio.to_thread(_view, path):
            self._retired.append(self._pool)
            os.close(self._namespace)
            self._open()

    def close(self) -> None:
        for pool in (*self._retired, self._pool):
            pool.shutdown(wait=True)
        if self._namespace is not None:
            os.close(self._namespace)

    def _open(self) -> None:
        self._namespace = _without(self._hidden) if self._hidden else None
        self._pool = ThreadPoolExecutor(
            _THREADS, thread_name_prefix="launch", initializer=_enter, initargs=(self._namespace,)
        )


def _enter(namespace: int | None) -> None:
    if namespace is not None:
        kernel.unshare(kernel.CLONE_FS)
        kernel.setns(namespace, kernel.CLONE_NEWNS)


def _view(path: str) -> tuple[int, int, frozenset[str]]:
    """What the calling thread sees at a path: which directory, and what is mounted below."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, frozenset())
    return (status.st_dev, status.st_ino, frozenset(kernel.mount_points(Path(path))))


def share(directory: Path) -> None:
    """Let mounts below `directory` reach the launcher's namespace. Idempotent."""
    tags = kernel.parse_mounts(Path("/proc/self/mountinfo").read_text())
    at = str(directory)
    while at not in tags:
        at = os.path.dirname(at)
    if "shared:" in tags[at]:
        return
    if at != str(directory):
        kernel.mount(str(directory), str(directory), "", kernel.MS_BIND)
    kernel.mount("", str(directory), "", kernel.MS_SHARED)


def unshare(directory: Path) -> None:
    """Undo `share`, when nothing is mounted below. Idempotent."""
    tags = kernel.parse_mounts(Path("/proc/self/mountinfo").read_text())
    if str(directory) in tags and not kernel.mount_points(directory):
        kernel.unmount(str(directory))


def _without(hidden: str) -> int:
    """A new mount namespace in which `hidden` is covered; returns its descriptor."""
    found: list[int | OSError] = []

    def make() -> None:
        try:
            kernel.unshare(kernel.CLONE_NEWNS)
            kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
            # crun makes its directories there all the same: they are to end with the namespace
            kernel.mount("tmpfs", hidden, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
            found.append(os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=make, name="namespace")
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]
