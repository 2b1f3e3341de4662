"""The OCI image layout on disk, shared with whoever else reads or writes it.

`index.json` is the only file that ever changes. It is replaced by a rename, under a lock
that other processes of ours take too, so a kill at any moment leaves the old one or the
new one. Blobs are named by their digest and appear by a rename as well.

Two locks, both of the kernel (flock), so that they end with the process that held them:
`.lock`     exclusive, for the moment in which index.json is replaced
`.content`  shared while blobs are added or read, exclusive while unneeded ones are swept
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.runtimes.native.images.spec import DamagedBlob, Descriptor, parse_index, render_index

_MAX_INDEX_BYTES = 64 << 20
_MAX_DOCUMENT_BYTES = 8 << 20  # a manifest or a config; registries stop at 4 MiB

Stamp = tuple[int, int, int]


class Layout:
    """One image layout. All methods block; none needs another to be called first, but `ensure`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = path / "blobs"
        self.staging = path / ".staging"
        self._cached: tuple[Stamp, tuple[Descriptor, ...]] | None = None

    def ensure(self) -> None:
        """Make an empty layout where there is none. Idempotent."""
        (self.blobs / "sha256").mkdir(parents=True, exist_ok=True)
        self.staging.mkdir(mode=0o700, exist_ok=True)
        with self.exclusive():
            marker = self.path / "oci-layout"
            if not marker.exists():
                self._write_atomically(marker, b'{"imageLayoutVersion":"1.0.0"}')
            if not (self.path / "index.json").exists():
                self._write_atomically(self.path / "index.json", render_index(()))

    def stamp(self) -> Stamp:
        """Changes whenever index.json does, whoever wrote it."""
        seen = os.stat(self.path / "index.json")
        return seen.st_ino, seen.st_mtime_ns, seen.st_size

    def entries(self) -> tuple[Descriptor, ...]:
        """What index.json lists; read again only when the file is another one."""
        stamp = self.stamp()
        if self._cached is None or self._cached[0] != stamp:
            self._cached = (stamp, parse_index(_read_limited(self.path / "index.json", _MAX_INDEX_BYTES)))
        return self._cached[1]

    def update(self, change: Callable[[tuple[Descriptor, ...]], Sequence[Descriptor]]) -> None:
        """Replace the entries with `change(entries)` in one step that no other process can come between."""
        with self.exclusive():
            before = self.entries()
            after = tuple(change(before))
            if after != before:
                self._write_atomically(self.path / "index.json", render_index(after))

    def blob_path(self, digest: str) -> Path:
        """Where the blob of a (checked) digest is."""
        return self.blobs / "sha256" / digest.removeprefix("sha256:")

    def read_document(self, digest: str) -> bytes:
        """A manifest or config, verified. Raises: DamagedBlob when it is missing or damaged;
        a damaged blob is removed, so that the next pull fetches it again."""
        path = self.blob_path(digest)
        try:
            content = _read_limited(path, _MAX_DOCUMENT_BYTES)
        except FileNotFoundError:
            raise DamagedBlob(f"blob {digest[:19]} is missing from the image store; pull or load it again") from None
        if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            path.unlink(missing_ok=True)
            raise DamagedBlob(f"blob {digest[:19]} was damaged on disk and is removed; pull or load it again")
        return content

    def write_document(self, content: bytes) -> str:
        """Store a small blob. Returns: its digest."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        path = self.blob_path(digest)
        if not path.exists():
            self._write_atomically(path, content)
        return digest

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the right to replace index.json; waits for whoever has it."""
        with _flock(self.path / ".lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def shared_content(self) -> Iterator[None]:
        """No blob or layer is swept meanwhile."""
        with _flock(self.path / ".content", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def sole_content(self) -> Iterator[bool]:
        """Yields whether we are alone with the blobs, without waiting; only then may they be swept."""
        try:
            with _flock(self.path / ".content", fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield True
        except BlockingIOError:
            yield False

    def _write_atomically(self, path: Path, content: bytes) -> None:
        temporary = self.staging / f"write-{secrets.token_hex(8)}"
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _flock(path: Path, operation: int) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the disk of the store at `path` refuses is an error of ours, and passes: NoSpace, or its own words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TransientError(f"no space left on the device of the image store {path}", reason="NoSpace") from None
        raise TransientError(f"image store {path}: {error}", reason="ImageStoreUnusable") from None


def _read_limited(path: Path, limit_bytes: int) -> bytes:
    with open(path, "rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise TransientError(f"{path} is larger than {limit_bytes >> 20} MiB", reason="ErrImagePull")
    return content
