"""The volumes of a pod on the host, and the path that a container gets of one.

A volume lives below the sandbox's directory; what must not touch the disk is a tmpfs below the run
directory. A container may have put symlinks into a volume that another mounts a part of: every
subPath is resolved by the kernel with the volume as its root, and bound to a place of ours, so that
nobody can change what it means between looking and mounting.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.model.sandbox import EmptyDir, File, Files, HostPath, Volume
from reconciler.runtimes.native import kernel

_DATA = "..data"
_HOST_PATH_TYPES = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


class Volumes:
    """The volumes of all sandboxes of one instance."""

    def __init__(self, disk: Path, memory: Path, parts: Path) -> None:
        """`disk`/<sandbox>/<volume> and `memory`/<sandbox>/<volume> hold volumes, `parts`/<container>/<n> subPaths."""
        self._disk = disk
        self._memory = memory
        self._parts = parts

    def path(self, sandbox_id: str, volume: Volume) -> Path:
        """Where the volume is on the host."""
        if isinstance(volume, HostPath):
            return Path(volume.path)
        root = self._memory if in_memory(volume) else self._disk
        return root / sandbox_id / volume.name

    def ensure(self, sandbox_id: str, volume: Volume) -> None:
        """Make the volume. Idempotent. Raises: TransientError(reason="FailedMount"), OSError."""
        path = self.path(sandbox_id, volume)
        match volume:
            case HostPath():
                _ensure_host_path(volume)
            case EmptyDir():
                self._ensure_directory(path, volume.size_limit_bytes if in_memory(volume) else None, volume)
                path.chmod(0o777)  # any user of any image may write
            case Files():
                self._ensure_directory(path, None, volume)
                publish(path, volume.files)

    def mount_points(self, sandbox_id: str, volumes: Sequence[Volume]) -> list[str]:
        """The mounts that must be there while the sandbox is in order."""
        return [str(self.path(sandbox_id, volume)) for volume in volumes if in_memory(volume)]

    def part(self, container_id: str, number: int, root: Path, sub_path: str) -> Path:
        """Bind `sub_path` of a volume to a place of ours, making its directories; returns that place.

        Raises: TransientError(reason="FailedMount").
        """
        place = self._parts / container_id / str(number)
        if str(place) in kernel.mount_points(self._parts):
            return place
        try:
            descriptor = _open_part(root, sub_path)
        except OSError as error:
            raise TransientError(
                f"subPath {sub_path!r} of volume {root.name!r}: {error.strerror}", reason="FailedMount"
            ) from None
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                place.mkdir(exist_ok=True)
            else:
                place.touch()
            kernel.mount(f"/proc/self/fd/{descriptor}", str(place), "", kernel.MS_BIND | kernel.MS_REC)
        finally:
            os.close(descriptor)
        return place

    def remove_parts(self, container_id: str, mounted: Sequence[str] | set[str]) -> None:
        """Unbind a container's subPaths. `mounted` are the mount points there are."""
        directory = self._parts / container_id
        kernel.unmount_all(point for point in mounted if point.startswith(f"{directory}/"))
        remove_parts(directory)

    def remove(self, sandbox_id: str, mounted: Sequence[str] | set[str]) -> None:
        """Remove all volumes of a sandbox, never a hostPath's content. Idempotent."""
        memory = self._memory / sandbox_id
        kernel.unmount_all(point for point in mounted if point.startswith(f"{memory}/"))
        remove_tree(memory)
        remove_tree(self._disk / sandbox_id)

    def _ensure_directory(self, path: Path, size_bytes: int | None, volume: Volume) -> None:
        path.mkdir(parents=True, exist_ok=True)
        if in_memory(volume) and not os.path.ismount(path):
            size = "" if size_bytes is None else f",size={size_bytes}"
            kernel.mount("tmpfs", str(path), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"mode=0755{size}")


def in_memory(volume: Volume) -> bool:
    """Whether the volume is a tmpfs."""
    return (isinstance(volume, EmptyDir) and volume.medium == "Memory") or (isinstance(volume, Files) and volume.secret)


def publish(root: Path, files: Sequence[File]) -> None:
    """Show `files`, and nothing else, under `root`: all of them at one moment, by renaming a symlink.

    Whoever reads through a path sees the old content or the new, whole. Raises: OSError.
    Source: Kubernetes' atomic writer, whose layout programs know (`..data`).
    """
    generation = root / f"..{secrets.token_hex(6)}"
    try:
        for file in files:
            target = generation / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb", opener=_private) as out:
                out.write(file.content)
            os.chmod(target, file.mode)
        generation.mkdir(exist_ok=True)
        generation.chmod(0o755)
        _replace_link(root / _DATA, generation.name)
    except BaseException:
        shutil.rmtree(generation, ignore_errors=True)
        raise
    shown = {file.path.split("/")[0] for file in files}
    for name in shown:
        if not os.path.islink(root / name):
            _replace_link(root / name, f"{_DATA}/{name}")
    for entry in list(os.scandir(root)):
        if entry.is_symlink():
            if entry.name != _DATA and entry.name not in shown:
                os.unlink(entry.path)
        elif entry.name != generation.name:
            remove_tree(Path(entry.path))


def remove_parts(directory: Path) -> None:
    """Remove the places of subPaths: empty ones only, for what is bound there is not ours."""
    if not directory.exists():
        return
    for place in directory.iterdir():
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink()
    directory.rmdir()


def remove_pin(pin: Path) -> None:
    """Let go of a namespace that a file holds. Idempotent."""
    kernel.unmount(str(pin))
    pin.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it. Idempotent. Symlinks are not followed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _replace_link(link: Path, target: str) -> None:
    temporary = link.with_name(f"..{secrets.token_hex(6)}.link")
    os.symlink(target, temporary)
    os.rename(temporary, link)


def _ensure_host_path(volume: HostPath) -> None:
    path = volume.path
    if not os.path.exists(path):
        try:
            if volume.type == "DirectoryOrCreate" or volume.type == "":
                # with no type at all the path is made as Docker makes it
                os.makedirs(path, mode=0o755, exist_ok=True)
            elif volume.type == "FileOrCreate":
                with open(path, "ab"):
                    pass
        except OSError as error:
            raise TransientError(f"hostPath {path}: {error.strerror}", reason="FailedMount") from None
    if volume.type == "":
        return
    matches, what = _HOST_PATH_TYPES[volume.type]
    try:
        fits = matches(os.stat(path).st_mode)
    except OSError as error:
        raise TransientError(f"hostPath {path}: {error.strerror}", reason="FailedMount") from None
    if not fits:
        raise TransientError(f"hostPath {path} is not {what}, as type {volume.type} wants it", reason="FailedMount")


def _open_part(root: Path, sub_path: str) -> int:
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return kernel.open_in_root(base, sub_path, os.O_PATH)
        except FileNotFoundError:
            _make_directories(base, sub_path)
            return kernel.open_in_root(base, sub_path, os.O_PATH)
    finally:
        os.close(base)


def _make_directories(base: int, sub_path: str) -> None:
    done = ""
    for name in sub_path.split("/"):
        parent = kernel.open_in_root(base, done or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
        done = f"{done}/{name}" if done else name
