"""inotify(7), as little of it as a folder's watch needs.

watchfiles looks at its queue in steps of its own: short ones cost a part of a core while
nothing happens, long ones are the delay of every change. A plain descriptor in the event loop
costs nothing and reports within a millisecond; it also tells when a writer has closed a file.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from enum import IntFlag
from typing import NamedTuple


class Mask(IntFlag):
    """What happened, from <sys/inotify.h>."""

    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    IS_DIRECTORY = 0x40000000


NAMES = Mask.MOVED_FROM | Mask.MOVED_TO | Mask.CREATE | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF
"""Which entries there are."""
ALL = NAMES | Mask.MODIFY | Mask.ATTRIB | Mask.CLOSE_WRITE
"""And what is in them."""

_HEADER = struct.Struct("iIII")
_MOST_BYTES = 65536


class Event(NamedTuple):
    """`directory` is the path it was watched by ("" with OVERFLOW), `name` the entry in it or empty."""

    directory: str
    name: str
    mask: Mask


class Inotify:
    """One inotify descriptor, non-blocking, and the paths it watches.

    Raises: OSError from the constructor and `watch`, with EMFILE or ENOSPC where a limit of the host is reached.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._paths: dict[int, str] = {}

    def fileno(self) -> int:
        return self._fd

    def watch(self, directory: str, mask: Mask = ALL) -> None:
        """Report what happens in `directory`, from now on only what is in `mask`. Idempotent."""
        descriptor = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), ctypes.c_uint32(mask))
        self._paths[self._checked(descriptor, directory)] = directory

    def keep(self, directories: set[str]) -> None:
        """Watch none but these any more."""
        for descriptor, path in list(self._paths.items()):
            if path not in directories:
                del self._paths[descriptor]
                self._libc.inotify_rm_watch(self._fd, descriptor)

    def read(self) -> Iterator[Event]:
        """What has happened so far. Never waits."""
        while True:
            try:
                data = os.read(self._fd, _MOST_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                descriptor, mask, _, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size
                name = data[at : at + length].rstrip(b"\0")
                at += length
                if mask & Mask.IGNORED:
                    self._paths.pop(descriptor, None)
                elif mask & Mask.OVERFLOW or descriptor in self._paths:
                    yield Event(self._paths.get(descriptor, ""), os.fsdecode(name), Mask(mask))

    def close(self) -> None:
        os.close(self._fd)

    def _checked(self, result: int, what: str) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), what)
        return result
