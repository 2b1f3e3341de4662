"""A folder as the source of desired state: read whole, cheaply, and watched.

What a load returns was all there at one moment. Files that move while they are read, and
files that somebody is just writing, would otherwise look deleted or cut short, and
what they declare would be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.manifest.yamldoc import MAX_BYTES, too_big
from reconciler.ports import Tree, TreeFile
from reconciler.sources.walk import NO_FILE, Found, Walk, walk
from reconciler.sources.watch import Watch

_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 0.002  # a change rarely comes alone: a rename is two events, a checkout hundreds
_YOUNG_SECONDS = 0.1  # without events: a file that changed so short ago may not be finished
_RACY_SECONDS = 0.05  # a file may change twice within one tick of its timestamps
_MOST_WALKS = 5

Signature = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file held, and by what to tell that it still does. `sure` is False when that may not be enough."""

    signature: Signature
    sure: bool
    content: bytes
    digest: bytes
    changed_at: float


class _Refused(Exception):
    """The file will not be read; the text says why."""


class DirectorySource:
    """One or more folders (or single files) of manifests, as a `Source`.

    With one folder, paths are relative to it; with several, each begins with its folder as it was given.
    """

    def __init__(self, roots: Sequence[Path], *, look_seconds: float = _LOOK_SECONDS) -> None:
        self.name = ", ".join(str(root) for root in roots)
        self._roots = [("" if len(roots) == 1 else os.path.normpath(root), root) for root in roots]
        self._look_seconds = look_seconds
        self._contents: dict[str, _Content] = {}  # by real path
        self._last: dict[str, _Content] | None = None  # what the last load returned, by path
        self._populated: dict[str, int] = {}  # by root, the device on which it last had files
        self._places: object = None  # where the roots were at the last load
        self._sight: object = None  # and what was there
        self._lock = threading.Lock()  # one walk with watches at a time
        self._watch: Watch | None = None

    @property
    def polling(self) -> str:
        """Why changes are looked for instead of being reported; empty if they are reported."""
        return self._watch.deaf if self._watch else ""

    async def load(self) -> Tree:
        """Read everything; only files that changed are opened.

        Raises: TransientError(reason="SourceUnreadable") when a root is gone, unreadable or unmounted.
        """
        return await asyncio.to_thread(self._load)

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, and then whenever something may have changed."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def hint() -> None:
            loop.call_soon_threadsafe(changed.set)

        watch = self._watch = Watch(hint)
        if (descriptor := watch.fileno()) is not None:
            loop.add_reader(descriptor, watch.take)
        try:
            await asyncio.to_thread(self._arm, watch)
            yield None
            while True:
                try:
                    async with asyncio.timeout(self._look_seconds):
                        await changed.wait()
                except TimeoutError:
                    if not await asyncio.to_thread(self._look, watch):
                        continue
                else:
                    await asyncio.sleep(_SETTLE_SECONDS)
                changed.clear()
                yield None
        finally:
            self._watch = None
            if descriptor is not None:
                loop.remove_reader(descriptor)
            watch.close()

    def _load(self) -> Tree:
        with self._lock:
            watch = self._watch
            self._places = None  # until this load has succeeded, every look asks for another
            for _ in range(_MOST_WALKS):
                if watch:
                    watch.take()
                disturbances = watch.disturbances if watch else 0
                places = self._where()
                found = self._walk(watch)
                contents, unreadable, left_out = self._read_all(found.files, watch)
                if watch:
                    watch.take()
                if not _moved(found) and (watch is None or watch.disturbances == disturbances):
                    break
            else:
                unreadable |= self._lost(contents)
            self._last = contents
            self._contents = {file.real: contents[file.path] for file in found.files if file.path in contents}
            self._places, self._sight = places, _sight(found, left_out)
        revision = hashlib.sha256()
        for path, content in contents.items():
            revision.update(path.encode() + b"\0" + content.digest)
        return Tree(
            revision.hexdigest()[:16],
            tuple(TreeFile(path, content.content, content.changed_at) for path, content in contents.items()),
            {**found.unreadable, **unreadable},
        )

    def _walk(self, watch: Watch | None) -> Walk:
        try:
            if watch is None:
                found = walk(self._roots)
            else:
                watch.begin(root for _, root in self._roots)
                found = walk(self._roots, watch.enter)
                watch.end({status.st_dev for status in found.directories.values()})
            devices = {prefix: os.stat(root).st_dev for prefix, root in self._roots}
        except OSError as error:
            raise _unreadable(f"{error.filename or self.name}: {error.strerror}") from None
        for prefix, device in devices.items():
            if any(not prefix or f"{file.path}/".startswith(f"{prefix}/") for file in found.files):
                self._populated[prefix] = device
            elif self._populated.get(prefix, device) != device:
                raise _unreadable(
                    f"{prefix or self.name}: empty, and on another filesystem than before; mount it again"
                )
        return found

    def _read_all(
        self, files: Sequence[Found], watch: Watch | None
    ) -> tuple[dict[str, _Content], dict[str, str], set[str]]:
        """Contents by path, why others cannot be read, and the files that were not taken as they are now."""
        contents: dict[str, _Content] = {}
        unreadable: dict[str, str] = {}
        left_out: set[str] = set()
        for file in files:
            content = self._contents.get(file.real)
            if content is None or not content.sure or content.signature != _signature(file.stat):
                try:
                    if _is_unfinished(file, watch):
                        left_out.add(file.path)
                        if self._last is None:  # it may be known to an earlier process
                            unreadable[file.path] = "somebody is writing it just now"
                    else:
                        content = _read(file)
                except FileNotFoundError:
                    continue  # its directory has changed, which is noticed
                except _Refused as refused:
                    unreadable[file.path] = str(refused)
                    continue
                except OSError as error:
                    unreadable[file.path] = f"cannot be read: {error.strerror}"
                    continue
            if content is not None:
                contents[file.path] = content
        return contents, unreadable, left_out

    def _lost(self, contents: Mapping[str, _Content]) -> dict[str, str]:
        """What may only seem to be gone, as the folder changed during every walk: files move around a walk."""
        why = "the folder changes faster than it can be read"
        if self._last is None:
            return {".": why}
        files = {content.signature[-2:] for content in contents.values()}
        return {
            path: why
            for path, content in self._last.items()
            if path not in contents and content.signature[-2:] not in files
        }

    def _arm(self, watch: Watch) -> None:
        """Set the watches, if the roots are there."""
        with self._lock, contextlib.suppress(TransientError):
            self._walk(watch)

    def _look(self, watch: Watch) -> bool:
        """Whether something is other than the last load saw it, without events."""
        if watch.writers_are_slow() or self._where() != self._places:
            return True
        if not watch.deaf:
            return False
        try:
            return _sight(walk(self._roots)) != self._sight
        except OSError:
            return True

    def _where(self) -> tuple[tuple[str, int, int], ...]:
        """Where every root leads: it may be a symlink, be mounted over, or be removed and made again."""
        places = []
        for _, root in self._roots:
            try:
                status = os.stat(root)
                places.append((os.path.realpath(root), status.st_dev, status.st_ino))
            except OSError as error:
                places.append((str(error.strerror), 0, 0))
        return tuple(places)


def _signature(status: os.stat_result) -> Signature:
    """By what to tell that a file is as it was. The last two are the file itself, wherever it is."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _sight(found: Walk, left_out: Set[str] = frozenset()) -> object:
    """What a later look compares with. `left_out` are paths of files that this one did not take as they are."""
    files = tuple((file.path, () if file.path in left_out else _signature(file.stat)) for file in found.files)
    return files, tuple(sorted(found.unreadable.items()))


def _is_unfinished(file: Found, watch: Watch | None) -> bool:
    """Whether somebody is still writing the file, as far as can be told."""
    if watch is None:
        return False
    young = watch.deaf and 0 <= time.time() - file.stat.st_ctime < _YOUNG_SECONDS
    return bool(young) or watch.is_writing(file.real)


def _read(file: Found) -> _Content:
    """Raises: _Refused, OSError."""
    descriptor = os.open(file.real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Refused(NO_FILE)
        if status.st_size >= MAX_BYTES:
            raise _Refused(too_big(status.st_size))
        content = stream.read(MAX_BYTES)
    sure = time.time() - max(status.st_mtime, status.st_ctime) > _RACY_SECONDS
    return _Content(_signature(status), sure, content, hashlib.sha256(content).digest(), status.st_ctime)


def _moved(found: Walk) -> bool:
    """Whether a directory has changed since it was read."""
    for directory, before in found.directories.items():
        try:
            now = os.stat(directory)
        except OSError:
            return True
        if (now.st_mtime_ns, now.st_ino, now.st_dev) != (before.st_mtime_ns, before.st_ino, before.st_dev):
            return True
    return False


def _unreadable(what: str) -> TransientError:
    return TransientError(f"{what}", reason="SourceUnreadable")
