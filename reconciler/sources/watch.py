"""What the kernel tells of a folder, made into hints.

Not every event is news: editors leave their swap files, and a file that is open for
writing is not worth reading yet. Where the kernel tells nothing (network filesystems, a limit
of the host reached), `deaf` says why, and somebody has to look.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from reconciler.sources.inotify import NAMES, Event, Inotify, Mask
from reconciler.sources.walk import is_manifest

_WRITING_SECONDS = 1.0  # how long a file may be open for writing before its content counts as it is
_ITSELF = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.OVERFLOW
_SILENT = {
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse", "fuseblk", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
}  # fmt: skip
"""Filesystems that can change without this kernel doing it, and so without an event."""


class Watch:
    """The events of the directories that walks enter. Safe to use from several threads.

    `hint` is called, in whatever thread takes the events, when something changed that a walk would see.
    `disturbances` counts such changes: a walk during which it moved has to be done again.
    """

    def __init__(self, hint: Callable[[], None]) -> None:
        self.deaf = ""
        self.disturbances = 0
        self._hint = hint
        self._lock = threading.Lock()
        self._writing: dict[str, float] = {}  # files open for writing, by when that was seen (monotonic clock)
        self._entered: set[str] = set()
        self._above: dict[str, set[str]] = {}  # directories around the roots, and the names in them that matter
        self._types: dict[int, str] = {}  # of filesystems, by device
        self._inotify: Inotify | None = None
        try:
            self._inotify = Inotify()
        except OSError as error:
            self.deaf = _limit(error)

    def fileno(self) -> int | None:
        """Readable while there are events to take; None if there never will be any."""
        return self._inotify.fileno() if self._inotify else None

    def close(self) -> None:
        """Watch nothing any more. What is called later does nothing."""
        with self._lock:
            if self._inotify:
                self._inotify.close()
            self._inotify = None

    def begin(self, roots: Iterable[Path]) -> None:
        """A walk of `roots` begins: watch what decides where they lead."""
        above: dict[str, set[str]] = {}
        for directory, name in _turns(roots):
            above.setdefault(directory, set()).add(name)
        with self._lock:
            self._entered, self._above = set(), above
            for directory in above:
                with contextlib.suppress(OSError):  # then a change there is seen by looking only
                    if self._inotify:
                        self._inotify.watch(directory, NAMES)

    def enter(self, directory: str) -> None:
        """The walk is about to read `directory`.

        Raises: OSError when it is gone or not readable.
        """
        with self._lock:
            if self._inotify is None:
                return
            self._entered.add(directory)
            try:
                self._inotify.watch(directory)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self.deaf = _limit(error)

    def end(self, devices: set[int]) -> None:
        """The walk is over, and went over these filesystems: watch nothing else any more."""
        with self._lock:
            if self._inotify is None:
                return
            self._inotify.keep(self._entered | self._above.keys())
            if not self._types.keys() >= devices:
                self._types = dict.fromkeys(devices, "") | _filesystem_types()
            silent = {kind for device in devices if (kind := self._types[device]).split(".")[0] in _SILENT}
            if silent:
                self.deaf = f"{', '.join(sorted(silent))} does not report all changes"

    def take(self) -> None:
        """Take the events there are. Never waits."""
        with self._lock:
            news = sum(self._is_news(event) for event in self._inotify.read()) if self._inotify else 0
            self.disturbances += news
        if news:
            self._hint()

    def is_writing(self, path: str) -> bool:
        """Whether somebody has begun to write the file (by its real path) and not closed it."""
        with self._lock:
            since = self._writing.get(path)
            return since is not None and time.monotonic() - since < _WRITING_SECONDS

    def writers_are_slow(self) -> bool:
        """Whether a file has now been open for so long that it counts as it is. True once for each."""
        with self._lock:
            slow = [path for path, since in self._writing.items() if time.monotonic() - since >= _WRITING_SECONDS]
            for path in slow:
                del self._writing[path]
            return bool(slow)

    def _is_news(self, event: Event) -> bool:
        directory, name, mask = event
        path = f"{directory}/{name}"
        if mask & (Mask.MOVED_FROM | Mask.MOVED_TO | Mask.DELETE | Mask.CLOSE_WRITE):
            self._writing.pop(path, None)
        if name in self._above.get(directory, ()) or mask & _ITSELF or not name:
            return True
        if directory not in self._entered or _is_noise(name):
            return False
        if mask & (Mask.MOVED_FROM | Mask.MOVED_TO | Mask.DELETE | Mask.IS_DIRECTORY):
            return True
        if mask & Mask.CREATE:
            return not self._is_begun(path, name)
        if mask & Mask.MODIFY and is_manifest(name):
            self._writing.setdefault(path, time.monotonic())
        return is_manifest(name) and bool(mask & (Mask.CLOSE_WRITE | Mask.ATTRIB))

    def _is_begun(self, path: str, name: str) -> bool:
        """Whether this new entry is a file that is still being written, rather than a link to something."""
        try:
            status = os.lstat(path)
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            return False
        if is_manifest(name):
            self._writing.setdefault(path, time.monotonic())
        return True


def _is_noise(name: str) -> bool:
    """What editors leave. `..data` is how Kubernetes swaps the content of a folder."""
    return name.startswith("#") or name.endswith("~") or (name.startswith(".") and not name.startswith(".."))


def _turns(roots: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Where another entry would make a root lead elsewhere: every symlink on the way, and what is missing."""
    for root in roots:
        path = Path(os.path.abspath(root))
        for place in (*reversed(path.parents), path):
            if place.is_symlink() or not os.path.lexists(place):
                yield os.path.realpath(place.parent), place.name
            if not os.path.lexists(place):
                break


def _filesystem_types() -> dict[int, str]:
    types = {}
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            major, minor = before.split()[2].split(":")
            types[os.makedev(int(major), int(minor))] = after.split()[0]
    return types


def _limit(error: OSError) -> str:
    match error.errno:
        case errno.EMFILE:
            return "no inotify instance is left; raise fs.inotify.max_user_instances"
        case errno.ENOSPC:
            return "no inotify watch is left; raise fs.inotify.max_user_watches"
    return f"inotify: {error.strerror}"
