"""Layers, unpacked once: `<path>/<chain id>/` is ready to be a lower directory of overlayfs.

Each layer is unpacked by a child (untar.py) into `.work/<random>/root` and gets its name by a
rename when it is whole and its digests were right, so no half layer is ever seen, whoever is killed when.
`.written/<chain id>` says in which boot it was written, until the disk has all of it: after a power loss
a layer that may lack bytes is unpacked again, and nobody waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import reconciler
from reconciler.errors import HostError, TransientError
from reconciler.runtimes.native.images.flight import Flights
from reconciler.runtimes.native.images.programs import Program
from reconciler.runtimes.native.images.spec import DamagedBlob, InvalidImage
from reconciler.runtimes.native.images.staging import Staging, remove_abandoned
from reconciler.runtimes.native.usage import disk_bytes

_PACKAGE_ROOT = Path(reconciler.__file__).parent.parent
_RESERVE_BYTES = 64 << 20  # a layer must not fill the disk under the containers that run
_STALL_SECONDS = 3600.0
_SETTLED = "on disk"
_OPAQUE_XATTR = "trusted.overlay.opaque"


@dataclass(frozen=True, slots=True)
class Layer:
    """What to unpack: the file `blob` has the digest `digest`, its uncompressed content has `diff_id`."""

    chain_id: str
    blob: Path
    digest: str
    diff_id: str


class LayerStore:
    """The unpacked layers. Several processes may use one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._work, self._written = path / ".work", path / ".written"
        self._flights: Flights[None] = Flights()
        self._sizes: dict[str, int] = {}
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 2))
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def ensure(self) -> None:
        """Make the directories, and remove what a killed process or a power loss left half done. Blocks."""
        self._work.mkdir(parents=True, exist_ok=True)
        self._written.mkdir(exist_ok=True)
        self.path.chmod(0o700)
        remove_abandoned(self._work)
        for half in self._written.glob(".*"):
            half.unlink(missing_ok=True)
        for chain_id in self.chain_ids():
            if self._note(chain_id) not in (_SETTLED, self._boot):
                self.remove(chain_id)

    def layer_path(self, chain_id: str) -> Path:
        """Where the layer is, or will be."""
        return self.path / chain_id

    def chain_ids(self) -> set[str]:
        """All layers that are there. Blocks."""
        return {entry.name for entry in os.scandir(self.path) if not entry.name.startswith(".")}

    def sizes(self, chain_ids: Iterable[str]) -> Mapping[str, int]:
        """What layers take on disk, in bytes; those that are not there are left out. Each is walked once. Blocks."""
        wanted = self.chain_ids().intersection(chain_ids)
        if unknown := sorted(wanted - self._sizes.keys()):
            sizes = disk_bytes(self.layer_path(chain_id) for chain_id in unknown)
            self._sizes |= {path.name: size for path, size in sizes.items()}
        return {chain_id: self._sizes[chain_id] for chain_id in wanted & self._sizes.keys()}

    def remove_stray_notes(self) -> None:
        """Remove what was written of layers that are gone. Nobody unpacks meanwhile. Blocks."""
        notes = {entry.name for entry in os.scandir(self._written) if not entry.name.startswith(".")}
        for stray in notes - self.chain_ids():
            (self._written / stray).unlink(missing_ok=True)

    def remove(self, chain_id: str) -> None:
        """Remove a layer that nothing uses, at once or not at all. Blocks."""
        with Staging(self._work) as work, contextlib.suppress(FileNotFoundError):
            self.layer_path(chain_id).rename(work / "root")
            (self._written / chain_id).unlink()

    async def ensure_layers(self, layers: Sequence[Layer]) -> tuple[Path, ...]:
        """Unpack what is missing, several at once, and return the directories, bottom first.

        Raises: InvalidImage (damaged or hostile; nothing of it is left),
        TransientError(reason="NoSpace"), HostError.
        """
        paths = tuple(self.layer_path(layer.chain_id) for layer in layers)
        below: asyncio.Task[None] | None = None
        tasks: list[asyncio.Task[None]] = []
        for index, layer in enumerate(layers):
            if not paths[index].is_dir():
                below = self._flights.join(layer.chain_id, partial(self._unpack, layer, paths[:index], below))
                tasks.append(below)
        for task in tasks:
            await asyncio.shield(task)
        if tasks:
            self._flights.join("settle", self._settle)
        return paths

    async def aclose(self) -> None:
        """Stop what is being unpacked; nothing of it stays."""
        await self._flights.aclose()

    async def _unpack(self, layer: Layer, lowers: Sequence[Path], below: asyncio.Task[None] | None) -> None:
        staging = await asyncio.to_thread(Staging, self._work)
        try:
            root = staging.path / "root"
            root.mkdir()
            root.chmod(0o755)  # whatever the umask
            async with self._slots:
                implicit = await self._run_child(layer, root, staging)
            if below is not None:
                await asyncio.shield(below)
            await asyncio.to_thread(self._commit, layer.chain_id, root, implicit, lowers)
        finally:
            await asyncio.to_thread(staging.close)

    async def _run_child(self, layer: Layer, root: Path, staging: Staging) -> list[bytes]:
        """Returns: the directories that the archive uses without describing them, as paths in the layer."""
        disk = os.statvfs(root)
        answer_file = staging.path / "answer.json"
        order = {
            "blob": str(layer.blob),
            "root": str(root),
            "answer": str(answer_file),
            "digest": layer.digest,
            "diff_id": layer.diff_id,
            "reserve_bytes": min(_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 100),
        }
        async with Program(
            (sys.executable, "-S", "-P", "-m", "reconciler.runtimes.native.images.untar", json.dumps(order)),
            env={"PYTHONPATH": str(_PACKAGE_ROOT)},
            pass_fds=(staging.fd,),
            stall_seconds=_STALL_SECONDS,
        ) as program:
            code = await program.wait()
        if code == 0 and not program.tail:
            return [bytes.fromhex(path) for path in json.loads(answer_file.read_bytes())["implicit"]]
        name, refusal = f"layer {layer.digest[:19]}", json.loads(program.tail[-1]) if code == 0 else {}
        message = refusal.get("message")
        match refusal.get("error"):
            case "space":
                raise TransientError(f"{name}: no space left in {self.path} to unpack it", reason="NoSpace")
            case "digest":
                layer.blob.unlink(missing_ok=True)  # so that the next pull fetches it again
                raise DamagedBlob(f"{message}; pull or load the image again")
            case "image":
                raise InvalidImage(f"{name} cannot be unpacked: {message}")
            case "host":
                raise HostError(f"{name} cannot be unpacked on this machine: {message}")
        raise TransientError(f"{name}: unpacking ended with code {code}: {' '.join(program.tail)[-300:]}")

    def _commit(self, chain_id: str, root: Path, implicit: Sequence[bytes], lowers: Sequence[Path]) -> None:
        for path in sorted(implicit):
            inherit_directory(path, root, lowers)
        self._write_note(chain_id, self._boot)
        try:
            root.rename(self.layer_path(chain_id))
        except OSError:  # another process was faster: the same digests, the same layer
            if not self.layer_path(chain_id).is_dir():
                raise

    async def _settle(self) -> None:
        """Once the disk has what was unpacked in this boot, say so."""
        while fresh := await asyncio.to_thread(self._fresh):
            await asyncio.to_thread(_sync_filesystem, self.path)
            for chain_id in fresh:
                await asyncio.to_thread(self._write_note, chain_id, _SETTLED)

    def _fresh(self) -> list[str]:
        return [chain_id for chain_id in self.chain_ids() if self._note(chain_id) == self._boot]

    def _note(self, chain_id: str) -> str:
        try:
            return (self._written / chain_id).read_text()
        except FileNotFoundError:
            return ""

    def _write_note(self, chain_id: str, note: str) -> None:
        temporary = self._written / f".{chain_id}-{secrets.token_hex(4)}"
        temporary.write_text(note)
        temporary.rename(self._written / chain_id)


def inherit_directory(path: bytes, root: Path, lowers: Sequence[Path]) -> None:
    """Give the directory `path` of a new layer the owner, mode, time and attributes that it has in
    the layers below it (bottom first): an archive may use `tmp/x` without saying what `tmp` is. Blocks."""
    parts = [part for part in path.split(b"/") if part]
    if (mine := _descend(root, parts)[0]) is None:
        return
    try:
        for lower in reversed(lowers):
            seen, hides_what_is_below = _descend(lower, parts)
            if seen is not None:
                _copy_metadata(seen, mine)
                os.close(seen)
            if seen is not None or hides_what_is_below:
                return
    finally:
        os.close(mine)


def _descend(root: Path, parts: Sequence[bytes]) -> tuple[int | None, bool]:
    """Open `parts` below `root` without following a symlink.

    Returns: the open directory or None, and whether this layer keeps layers below from showing there.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(root, flags)
    opaque = False
    for part in parts:
        try:
            below = os.open(part, flags, dir_fd=fd)
        except FileNotFoundError:
            return None, opaque
        except OSError:  # a file, a symlink or a whiteout
            return None, True
        finally:
            os.close(fd)
        fd = below
        opaque = opaque or _OPAQUE_XATTR in os.listxattr(fd)
    return fd, opaque


def _copy_metadata(source: int, target: int) -> None:
    seen = os.fstat(source)
    os.fchown(target, seen.st_uid, seen.st_gid)
    os.fchmod(target, stat.S_IMODE(seen.st_mode))
    for name in os.listxattr(source):
        if name != _OPAQUE_XATTR:
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _sync_filesystem(path: Path) -> None:
    """syncfs(2), which Python does not have."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ctypes.CDLL(None, use_errno=True).syncfs(fd)
    finally:
        os.close(fd)
