"""The program that unpacks one layer, in a process of its own that has chrooted into it.

An archive may name any path and make any symlink: after chroot(2) none of them leads out
of the layer. Existing names are unlinked before they are made again and never opened,
so that nothing is ever written through a symlink or into a device that came out of the archive.

Run as a module with one argument, a JSON object: `blob` (path), `root` (the empty directory),
`digest` and `diff_id` (`sha256:...`), `reserve_bytes` (free space that must remain), `answer` (path).
Writes `{"implicit": [hex paths]}` to `answer`, or prints `{"error": kind, "message": text}` with the
kinds `image` (the archive is bad), `digest` (it is not the one that was asked for), `space`, `host`.
Only the standard library is imported: it starts for every layer, and must start fast.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import stat
import sys

from reconciler.runtimes.native.images import tarstream
from reconciler.runtimes.native.images.spool import DigestMismatch, Spool
from reconciler.runtimes.native.images.tarstream import Entry, TarError, TarStream

_CHUNK = 1 << 20
_MAX_ADDRESS_SPACE = 2 << 30  # nothing an archive says makes us larger
_SPACE_CHECK_BYTES = 32 << 20
_WHITEOUT, _AUFS, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_OPAQUE_XATTR = b"trusted.overlay.opaque"
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")  # an archive must not steer overlayfs
_SPACE_ERRORS = {errno.ENOSPC, errno.EDQUOT}
_HOST_ERRORS = {errno.EPERM, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOTSUP, errno.ENOSYS, errno.EMFILE}
_UNSUPPORTED = {errno.ENOTSUP, errno.EPERM}


class Unpacker:
    """Makes the entries of one layer below the current root directory."""

    def __init__(self, stream: TarStream, reserve_bytes: int) -> None:
        self._stream = stream
        self._reserve_bytes = reserve_bytes
        self._unchecked_bytes = 0
        self.implicit: dict[bytes, None] = {b"": None}  # directories that no entry describes
        self._times: dict[bytes, int] = {}

    def run(self) -> None:
        """Raises: TarError, OSError."""
        for entry in self._stream:
            path = _clean(entry.name)
            parent, _, base = path.rpartition(b"/")
            if path.startswith(_AUFS) and base != _OPAQUE:
                continue  # aufs' own bookkeeping
            if base.startswith(_WHITEOUT):
                self._whiteout(parent, base)
                continue
            if not path and entry.kind != tarstream.DIRECTORY:
                raise TarError("the archive replaces its own root directory")
            try:
                self._make(entry, path)
            except (FileNotFoundError, NotADirectoryError):
                self._make_parents(parent)
                self._make(entry, path)
        for path, mtime_ns in reversed(self._times.items()):  # last: making entries changes them
            os.utime(path or b".", ns=(mtime_ns, mtime_ns))

    def _make(self, entry: Entry, path: bytes) -> None:
        match entry.kind:
            case tarstream.DIRECTORY:
                self._directory(entry, path)
                return
            case tarstream.FILE:
                self._file(entry, path)
                return
        self._clear(path)
        match entry.kind:
            case tarstream.HARDLINK:
                self._hardlink(entry, path)
                return
            case tarstream.SYMLINK:
                os.symlink(entry.link, path)
            case tarstream.CHARACTER:
                os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(entry.major, entry.minor))
            case tarstream.BLOCK_DEVICE:
                os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(entry.major, entry.minor))
            case tarstream.FIFO:
                os.mkfifo(path)
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.kind != tarstream.SYMLINK:
            os.chmod(path, entry.mode)
        self._xattrs(entry, path)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _file(self, entry: Entry, path: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
        except FileExistsError:
            self._clear(path)
            fd = os.open(path, flags, 0o600)
        try:
            if entry.segments is None:
                self._write(fd, entry.size_bytes)
            else:
                os.ftruncate(fd, entry.size_bytes)
                for offset, length in entry.segments:
                    os.lseek(fd, offset, os.SEEK_SET)
                    self._write(fd, length)
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)  # after chown, which clears setuid
            if entry.xattrs:
                self._xattrs(entry, fd)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _write(self, fd: int, size: int) -> None:
        while size:
            data = self._stream.read(min(size, _CHUNK))
            size -= len(data)
            self._unchecked_bytes += len(data)
            if self._unchecked_bytes > _SPACE_CHECK_BYTES:
                self._unchecked_bytes = 0
                free = os.fstatvfs(fd)
                if free.f_bavail * free.f_frsize < self._reserve_bytes:
                    raise OSError(errno.ENOSPC, "No space left on device")
            while data:
                data = data[os.write(fd, data) :]

    def _directory(self, entry: Entry, path: bytes) -> None:
        if path:
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                seen = os.lstat(path)
                if not stat.S_ISDIR(seen.st_mode):
                    os.unlink(path)
                    os.mkdir(path, 0o700)
                    if _is_whiteout(seen):  # gone below, and here anew: nothing of what is below shows
                        os.setxattr(path, _OPAQUE_XATTR, b"y")
        where = path or b"."
        os.chown(where, entry.uid, entry.gid)
        os.chmod(where, entry.mode)
        self._xattrs(entry, where)
        self.implicit.pop(path, None)
        self._times[path] = entry.mtime_ns

    def _hardlink(self, entry: Entry, path: bytes) -> None:
        target = _clean(entry.link)
        try:
            os.link(target, path, follow_symlinks=False)
        except FileNotFoundError:
            if os.path.lexists(target):
                raise  # the parent of the new name is what is missing
            raise TarError(f"{shown(path)} is a hard link to {shown(target)}, which is not in the layer") from None

    def _whiteout(self, parent: bytes, base: bytes) -> None:
        """Source: image-spec layer.md, "Whiteouts"; in the kernel's form: overlayfs.rst, "whiteouts and opaque"."""
        if base == _OPAQUE:
            self._make_parents(parent)
            os.setxattr(parent or b".", _OPAQUE_XATTR, b"y")
            return
        name = base[len(_WHITEOUT) :]
        if name in (b"", b".", b".."):
            raise TarError(f"{shown(base)} deletes no name")
        self._make_parents(parent)
        path = parent + b"/" + name if parent else name
        try:
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        except FileExistsError:
            # whiteouts speak of the layers below only: what this layer has under the name stays
            if stat.S_ISDIR(os.lstat(path).st_mode):
                os.setxattr(path, _OPAQUE_XATTR, b"y")

    def _make_parents(self, path: bytes) -> None:
        missing = []
        while path and not os.path.isdir(path):
            missing.append(path)
            path = path.rpartition(b"/")[0]
        for path in reversed(missing):
            try:
                os.mkdir(path, 0o755)
                self.implicit[path] = None
            except FileExistsError:
                if not _is_whiteout(os.lstat(path)):
                    raise TarError(f"{shown(path)} is used as a directory, and is none") from None
                os.unlink(path)
                os.mkdir(path, 0o755)
                os.setxattr(path, _OPAQUE_XATTR, b"y")

    def _clear(self, path: bytes) -> None:
        """Make the name free. What an entry replaces is not merged with it."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            shutil.rmtree(path)
            inside = path + b"/"
            for known in (self.implicit, self._times):
                for gone in [p for p in known if p == path or p.startswith(inside)]:
                    del known[gone]

    def _xattrs(self, entry: Entry, target: bytes | int) -> None:
        for name, value in entry.xattrs.items():
            if name.startswith(_OVERLAY_XATTRS):
                continue
            try:
                os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
            except OSError as error:
                if error.errno not in _UNSUPPORTED or name == b"security.capability":
                    raise


def _is_whiteout(seen: os.stat_result) -> bool:
    return stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0


def _clean(name: bytes) -> bytes:
    """A path relative to the layer's root, "" for the root itself. Absolute names count as relative, as with tar."""
    if b"\0" in name:
        raise TarError(f"{shown(name)} has a zero byte in its name")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise TarError(f"{shown(name)} leads out of the layer")
    return b"/".join(parts)


def shown(name: bytes) -> str:
    return ascii(name[:200].decode(errors="replace"))


def unpack(blob: str, root: str, digest: str, diff_id: str, reserve_bytes: int) -> list[bytes]:
    """Unpack `blob` into the directory `root` and stay chrooted in it.

    Returns: the directories that the archive uses without an entry for them.
    Raises: TarError, DigestMismatch, OSError.
    """
    os.umask(0)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = _MAX_ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(_MAX_ADDRESS_SPACE, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    if not os.path.exists(blob):
        raise DigestMismatch("the layer's blob is missing")
    with open(blob, "rb", buffering=0) as file, open(blob, "rb") as again:
        spool = Spool(file, digest, diff_id)
        os.chroot(root)
        os.chdir("/")
        unpacker = Unpacker(TarStream(spool), reserve_bytes)
        try:
            unpacker.run()
            spool.finish()
        except TarError as error:
            if f"sha256:{hashlib.file_digest(again, 'sha256').hexdigest()}" == digest:
                raise
            raise DigestMismatch(f"the layer's blob is damaged: {error}") from None
    return list(unpacker.implicit)


def main() -> None:
    """Do what the argument says; the exit code is 0 for any answer."""
    order = json.loads(sys.argv[1])
    answer_fd = os.open(order.pop("answer"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # before the chroot
    try:
        implicit = unpack(**order)
        with open(answer_fd, "w") as answer_file:
            json.dump({"implicit": [path.hex() for path in implicit]}, answer_file)
    except TarError as error:
        _refuse("image", str(error))
    except DigestMismatch as error:
        _refuse("digest", str(error))
    except (MemoryError, OverflowError, RecursionError):
        _refuse("image", "the archive has numbers or a nesting beyond all bounds")
    except OSError as error:
        name = error.filename
        where = shown(name) + ": " if isinstance(name, bytes) else ""
        kind = "space" if error.errno in _SPACE_ERRORS else "host" if error.errno in _HOST_ERRORS else "image"
        _refuse(kind, f"{where}{error.strerror}")
    os._exit(0)  # the reading thread may still wait with a chunk nobody wants


def _refuse(kind: str, message: str) -> None:
    """Not into the file: a full disk must be able to say so."""
    print(json.dumps({"error": kind, "message": message}), flush=True)


if __name__ == "__main__":
    main()
