"""What becomes of images that are there: names given and taken, images deleted, the rest swept.

A name or an entry is taken off the index first; then a sweep removes every blob and layer that
nobody needs any more. Killed in between, the sweep of the next start does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from functools import partial
from pathlib import Path

from reconciler.errors import ConflictError, TerminalError
from reconciler.model.reference import familiar
from reconciler.plan.garbage import Disk, StoredImage
from reconciler.ports import Image, ImageDetail, ImageDisk
from reconciler.runtimes.native.images import names
from reconciler.runtimes.native.images.catalog import Catalog, Listed
from reconciler.runtimes.native.images.layout import Layout, disk_errors
from reconciler.runtimes.native.images.spec import Descriptor, chain_ids
from reconciler.runtimes.native.images.staging import remove_tree
from reconciler.runtimes.native.images.unpack import LayerStore
from reconciler.runtimes.native.usage import disk_bytes

Users = Callable[[], Mapping[str, str]]
"""Ids of the images that containers stand on, and a container that does, in words."""


class Upkeep:
    """The part of the image store that neither adds nor reads content."""

    def __init__(self, layout: Layout, layers: LayerStore, catalog: Catalog, users: Users, build: Path) -> None:
        """`build` is where buildah keeps its storage."""
        self._layout, self._layers, self._catalog, self._users, self._build = layout, layers, catalog, users, build
        self._sweep_due = False

    async def tag(self, asked: str, name: str) -> None:
        """See `Images.tag`; `name` is normalized."""

        def give(entries: Sequence[Descriptor]) -> list[Descriptor]:
            if image not in entries:  # taken away meanwhile
                raise TerminalError(f"image {asked!r} is not in the store", reason="NotFound")
            return names.give_names(entries, image, (name,))

        with disk_errors(self._layout.path):
            listed, _ = await asyncio.to_thread(self._catalog.look_up, asked)
            image = self._catalog.entries_of({listed.known.id})[0]
            await asyncio.to_thread(self._layout.update, give)

    async def remove(self, asked: str, *, force: bool) -> Sequence[str]:
        """See `Images.remove`."""
        with disk_errors(self._layout.path):
            listed, name = await asyncio.to_thread(self._catalog.look_up, asked)
            image_id = listed.known.id
            user = self._users().get(image_id, "")
            removal = names.plan_removal(image_id, listed.names, name, user, force=force)
            done = [f"untagged {familiar(name)}" for name in removal.names]
            if removal.delete:
                done += [f"deleted {id}" for id in await self.delete((image_id,))]
            else:
                change = partial(names.take_names, names=removal.names, keep=True)
                await asyncio.to_thread(self._layout.update, change)
                done += [f"kept {image_id}: {user} uses it"] if len(removal.names) == len(listed.names) else []
            return done

    async def delete(self, ids: Collection[str]) -> Sequence[str]:
        """See `Images.delete`."""
        with disk_errors(self._layout.path):
            gone = sorted(set(ids) - self._users().keys())
            entries = await asyncio.to_thread(self._catalog.entries_of, set(gone))
            if entries:
                change = partial(names.take_images, digests={entry.digest for entry in entries})
                await asyncio.to_thread(self._layout.update, change)
                await self.sweep()
            return gone

    async def inspect(self, asked: str) -> ImageDetail:
        """See `Images.inspect`."""
        with disk_errors(self._layout.path):
            listed, _ = await asyncio.to_thread(self._catalog.look_up, asked)
            chains = chain_ids(listed.known.config.diff_ids)
            sizes = await asyncio.to_thread(self._layers.sizes, chains)
            return ImageDetail(image_of(listed), listed.known.config.value, tuple(sizes.get(c, 0) for c in chains))

    async def stored(self) -> Sequence[StoredImage]:
        """See `Images.stored`."""
        with disk_errors(self._layout.path):
            return await asyncio.to_thread(self._stored)

    async def disk(self) -> ImageDisk:
        """See `Images.disk`."""
        with disk_errors(self._layout.path):
            return await asyncio.to_thread(self._disk)

    async def build_cache_bytes(self) -> int:
        """See `Images.build_cache_bytes`."""
        return (await asyncio.to_thread(disk_bytes, [self._build])).get(self._build, 0)

    async def clear_build_cache(self) -> None:
        """See `Images.clear_build_cache`."""
        with disk_errors(self._build):
            await asyncio.to_thread(self._clear_build_cache)

    async def sweep(self) -> None:
        """Delete blobs and layers that neither the index nor a container needs; put off while somebody adds some."""
        in_use = frozenset(self._users())
        self._sweep_due = not await asyncio.to_thread(self._sweep_now, in_use)

    async def sweep_if_due(self) -> None:
        """Do what was put off."""
        if self._sweep_due:
            await self.sweep()

    def _sweep_now(self, in_use: Set[str]) -> bool:
        """Mark and sweep, if nobody works with the blobs. Returns: whether it was done."""
        with self._layout.sole_content() as alone:
            if alone:
                blobs, chains = self._catalog.needed(in_use)
                for blob in os.scandir(self._layout.blobs / "sha256"):
                    if f"sha256:{blob.name}" not in blobs:
                        os.unlink(blob.path)
                for chain_id in self._layers.chain_ids() - chains:
                    self._layers.remove(chain_id)
                self._layers.remove_stray_notes()
            return alone

    def _stored(self) -> Sequence[StoredImage]:
        images = self._catalog.images()
        chains = {image.known.id: chain_ids(image.known.config.diff_ids) for image in images}
        sizes = self._layers.sizes({chain for ids in chains.values() for chain in ids})
        found = []
        for image in images:
            parts = {chain: sizes[chain] for chain in chains[image.known.id] if chain in sizes}
            for digest in image.known.parts:
                with contextlib.suppress(FileNotFoundError):  # of another platform, or damaged
                    parts[digest] = os.stat(self._layout.blob_path(digest)).st_blocks * 512
            found.append(StoredImage(image.known.id, image.names, image.known.digest, parts))
        return found

    def _disk(self) -> ImageDisk:
        seen = os.statvfs(self._layout.path)
        blobs = sum(entry.stat().st_blocks * 512 for entry in os.scandir(self._layout.blobs / "sha256"))
        layers = sum(self._layers.sizes(self._layers.chain_ids()).values())
        return ImageDisk(blobs, layers, Disk(seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize))

    def _clear_build_cache(self) -> None:
        if not self._build.exists():
            return
        fd = os.open(self._build / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in ("root", "run", "tmp"):
                remove_tree(self._build / name)
        except BlockingIOError:
            raise ConflictError("a build runs; its cache goes when it has ended", reason="BuildRunning") from None
        finally:
            os.close(fd)


def image_of(listed: Listed) -> Image:
    """An image as the ports have it."""
    known = listed.known
    return Image(
        id=known.id,
        references=listed.names,
        digest=listed.digest,
        created_at=known.config.created_at,
        size_bytes=known.size_bytes,
        platform=known.config.platform,
    )
