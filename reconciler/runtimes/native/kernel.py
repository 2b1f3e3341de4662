"""The system calls that Python does not wrap.

Mounting is a system call, not a program: `mount(8)` costs more than a container's whole
root filesystem. Namespaces are entered per thread, which the C library allows and forks
inherit: that is how a program is started somewhere else without a helper in front of it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _checked(result: int, path: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path or None)
    return result


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    _checked(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) or None,
        ),
        target,
    )


def unmount(target: str) -> None:
    """Take away the mount on `target`, also when it is busy; nothing happens when there is none."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) < 0:
        number = ctypes.get_errno()
        if number not in (22, 2):  # EINVAL: not a mount point; ENOENT
            raise OSError(number, os.strerror(number), target)


def unshare(flags: int) -> None:
    """unshare(2), of the calling thread."""
    _checked(_libc.unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """setns(2), of the calling thread."""
    _checked(_libc.setns(descriptor, kind))


def pin_new_ipc(place: str) -> None:
    """Make an IPC namespace and hold it by a mount on the file `place`."""
    failed: list[OSError] = []

    def make() -> None:
        try:
            unshare(CLONE_NEWIPC)
            mount("/proc/thread-self/ns/ipc", place, "", MS_BIND)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make, name="ipc")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` with `root` (a directory's descriptor) as "/" for every symlink and "..".

    Returns: a descriptor. Raises: OSError. Source: openat2(2), RESOLVE_IN_ROOT.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    return _checked(_libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)), path)


def read_in_root(root: str, path: str, limit_bytes: int = 1 << 20) -> str:
    """The text of a file below `root`, which is not trusted; "" when it is absent or no regular file."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_in_root(directory, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    finally:
        os.close(directory)
    with open(descriptor, "rb") as file:
        try:
            return file.read(limit_bytes).decode(errors="replace")
        except OSError:  # a directory, a device
            return ""


def parse_mounts(mountinfo: str) -> Mapping[str, str]:
    """Mount point -> the tags between options and separator ("shared:3"), from mountinfo's text."""
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        found[_unescape(fields[4])] = " ".join(fields[6 : fields.index("-", 6)])
    return found


def mount_points(below: Path) -> set[str]:
    """All mount points under a directory, itself left out, in the calling thread's namespace."""
    prefix = f"{below}/"
    escaped = prefix.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    with open("/proc/thread-self/mountinfo") as file:
        points = (line.split(" ", 5)[4] for line in file if escaped in line)
        return {_unescape(point) for point in points if point.startswith(escaped)}


def unmount_all(points: Iterable[str]) -> None:
    """Unmount, the deepest first."""
    for point in sorted(points, key=len, reverse=True):
        unmount(point)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def process_started(pid: int) -> int | None:
    """When a process started, in the kernel's ticks: with its id it names one process for ever (until
    the next boot). None when there is no such process, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of the process that had this id and start, or None when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if process_started(pid) == started:
        return descriptor
    os.close(descriptor)
    return None
