"""Which files of a folder are manifests: the rules, apart from watching.

A name counts when it ends in .yaml, .yml or .json and is no hidden file and no editor's
backup. Symlinks count when they stay inside: Kubernetes and git-sync publish files as links into a
hidden directory that is swapped at once. Everything that exists and cannot be taken is
named with why, so that nobody takes it for deleted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")
NO_FILE = "this is no regular file; replace it or give it another name"


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest file. `path` is relative to its root, with `/`; `real` is where its content is, without symlinks."""

    path: str
    real: str
    stat: os.stat_result


@dataclass(slots=True)
class Walk:
    """What a walk found. `directories` are the real paths of those that were read, as they were just before."""

    files: list[Found] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    directories: dict[str, os.stat_result] = field(default_factory=dict)


def is_manifest(name: str) -> bool:
    """Whether a file of this name is read. Hidden files and editors' backups (`#x.yaml`, `x.yaml~`) are not."""
    return name.endswith(SUFFIXES) and not name.startswith((".", "#"))


def walk(roots: Iterable[tuple[str, Path]], enter: Callable[[str], None] = lambda directory: None) -> Walk:
    """Find the manifests below `roots`: pairs of what to put before the paths, and a folder or a file.

    `enter` is called with the real path of every directory before it is read, so that a watch
    set there misses nothing. A file that can be reached twice is found once.
    Raises: OSError when a root itself cannot be read.
    """
    walker = _Walker(enter)
    tops = [(prefix, os.path.realpath(root, strict=True)) for prefix, root in roots]
    walker.inside = [real for _, real in tops]
    for prefix, real in tops:
        if stat.S_ISDIR(os.stat(real).st_mode):
            with os.scandir(real):  # a folder that cannot be read is an error here, and a problem further down
                walker.waiting.append((prefix, real))
        else:
            enter(os.path.dirname(real))
            walker.take(prefix or os.path.basename(real), real, os.stat(real))
    walker.run()
    walker.result.files.sort(key=lambda found: found.path)
    return walker.result


class _Walker:
    """One walk. Links are followed after all that is no link, which so gets the plainer path."""

    def __init__(self, enter: Callable[[str], None]) -> None:
        self.result = Walk()
        self.inside: list[str] = []
        self.waiting: deque[tuple[str, str]] = deque()
        self._links: deque[tuple[str, str]] = deque()
        self._enter = enter
        self._taken: set[str] = set()

    def run(self) -> None:
        while self.waiting or self._links:
            if self.waiting:
                self._directory(*self.waiting.popleft())
            else:
                self._link(*self._links.popleft())

    def take(self, path: str, real: str, status: os.stat_result) -> None:
        """A file by its real path, unless it has been taken by another."""
        if real in self._taken:
            return
        self._taken.add(real)
        if stat.S_ISREG(status.st_mode):
            self.result.files.append(Found(path, real, status))
        else:
            self.result.unreadable[path] = NO_FILE

    def _directory(self, path: str, real: str) -> None:
        if real in self.result.directories:
            return
        try:
            self._enter(real)
            self.result.directories[real] = os.stat(real)
            with os.scandir(real) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                self._entry(path, entry)
        except FileNotFoundError:
            return  # deleted since its parent was read
        except OSError as error:
            self.result.unreadable[path] = _why(error)

    def _entry(self, parent: str, entry: os.DirEntry[str]) -> None:
        name = entry.name
        if name.startswith("."):
            return
        path = f"{parent}/{name}" if parent else name
        try:
            link, directory = entry.is_symlink(), entry.is_dir(follow_symlinks=False)
            if not (link or directory or is_manifest(name)):
                return
            if not name.isprintable():
                shown = path.encode("unicode_escape", "surrogatepass").decode("ascii")
                self.result.unreadable[shown] = "this name has characters that cannot be shown; rename it"
            elif link:
                self._links.append((path, entry.path))
            elif directory:
                self.waiting.append((path, entry.path))
            else:
                self.take(path, entry.path, entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return
        except OSError as error:
            self.result.unreadable[path] = _why(error)

    def _link(self, path: str, link: str) -> None:
        counts = is_manifest(os.path.basename(link))
        try:
            real = os.path.realpath(link, strict=True)
            status = os.stat(real)
        except FileNotFoundError:
            if counts and os.path.islink(link):
                self.result.unreadable[path] = "this symlink points to nothing; mend or remove it"
            return
        except OSError as error:
            self.result.unreadable[path] = _why(error)
            return
        directory = stat.S_ISDIR(status.st_mode)
        if not (directory or counts):
            return
        if not any(real == top or real.startswith(f"{top.rstrip('/')}/") for top in self.inside):
            self.result.unreadable[path] = "this symlink leaves the folder; copy what it points to, or watch that too"
        elif not directory:
            self._enter(os.path.dirname(real))
            self.take(path, real, status)
        elif f"{os.path.dirname(link)}/".startswith(f"{real.rstrip('/')}/"):
            self.result.unreadable[path] = "this symlink points to a folder that it is in, a loop; remove it"
        else:
            self.waiting.append((path, real))


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "this symlink leads back to itself, a loop; remove it"
    return f"cannot be read: {error.strerror}"
