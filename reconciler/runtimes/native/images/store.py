"""The image store: what references there are, what they mean, and their layers ready to be mounted.

An OCI image layout in `<state_dir>/images`, which skopeo and others can read, and unpacked
layers in `<state_dir>/layers`. Whatever is interrupted leaves blobs nobody names, which the
next sweep removes; a name is given in one rename, after all it needs is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.errors import TerminalError, TransientError
from reconciler.model.login import Login
from reconciler.model.reference import familiar, normalize
from reconciler.plan.garbage import StoredImage
from reconciler.ports import Image, ImageDetail, ImageDisk, Images, Progress
from reconciler.runtimes.native.images import names, transport
from reconciler.runtimes.native.images.archives import open_archive
from reconciler.runtimes.native.images.build import Builder, Order, restore_docker_fields
from reconciler.runtimes.native.images.building import Site, build_image
from reconciler.runtimes.native.images.catalog import ARCHITECTURE, Catalog, Known
from reconciler.runtimes.native.images.exchange import Exchange, Place, PullResult
from reconciler.runtimes.native.images.layout import Layout, disk_errors
from reconciler.runtimes.native.images.pack import Chosen, write_archive
from reconciler.runtimes.native.images.packroot import pack_root
from reconciler.runtimes.native.images.spec import ORIGIN, DamagedBlob, parse_index
from reconciler.runtimes.native.images.staging import Staging, remove_abandoned
from reconciler.runtimes.native.images.unpack import LayerStore
from reconciler.runtimes.native.images.upkeep import Upkeep, Users, image_of


@dataclass(frozen=True, slots=True)
class Resolved:
    """An image that can be mounted. `id` is the digest of its config, `digest` of its manifest,
    `config` the OCI image config, `layers` directories for overlayfs, bottom first."""

    id: str
    digest: str
    config: Mapping[str, Any]
    layers: tuple[Path, ...]


class ImageStore(Images):
    """The images of one instance. Use from one event loop; other processes may use the same directory."""

    def __init__(
        self,
        state_dir: Path,
        *,
        in_use: Users = dict,
        pulled: Callable[[PullResult], None] = lambda result: None,
    ) -> None:
        """`in_use()` names a container for each image (by id) that one stands on: nothing of it is ever deleted.
        `pulled` is told of every pull that went well."""
        self.layout = Layout(state_dir / "images")
        self.layers = LayerStore(state_dir / "layers")
        self._in_use = in_use
        self.catalog = Catalog(self.layout)
        self._upkeep = Upkeep(self.layout, self.layers, self.catalog, in_use, state_dir / "build")
        place = Place(
            self.layout, self.catalog, self._content, self._staging, self._take, self._unpack, self._upkeep.sweep
        )
        self._exchange = Exchange(place, pulled)
        self._builder = Builder(state_dir / "build")

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        *,
        in_use: Users = dict,
        pulled: Callable[[PullResult], None] = lambda result: None,
    ) -> ImageStore:
        """Open the store, made when it is not there, and remove what killed processes left half done."""
        store = cls(state_dir, in_use=in_use, pulled=pulled)
        with disk_errors(store.layout.path):
            await asyncio.to_thread(store.layout.ensure)
            await asyncio.to_thread(remove_abandoned, store.layout.staging)
            await asyncio.to_thread(store.layers.ensure)
            await store._upkeep.sweep()
        return store

    async def aclose(self) -> None:
        """Stop what is under way; nothing of it stays but whole blobs."""
        await self._exchange.aclose()
        await self.layers.aclose()

    def references(self) -> Mapping[str, str]:
        """Every reference in the store, normalized, and the id of its image. Cheap: one stat(2)
        while nobody changed the store."""
        with disk_errors(self.layout.path):
            return self.catalog.references()

    async def resolve(self, reference: str) -> Resolved:
        """The image of a normalized reference (or of an id), its layers unpacked.

        Raises: TransientError(reason="ErrImageNeverPull") when it is not in the store, InvalidImage
        (reason="ErrImagePull") when it is damaged or cannot be unpacked, TransientError(reason="NoSpace").
        """
        known = self.catalog.find(reference)
        if known is None:
            raise TransientError(
                f"image {familiar(reference)!r} is not in the store: load, build or pull it", reason="ErrImageNeverPull"
            )
        layers = known.layers(self.layout)
        paths = tuple(self.layers.layer_path(layer.chain_id) for layer in layers)
        if not all(path.is_dir() for path in paths):
            async with self._content():
                try:
                    paths = await self.layers.ensure_layers(layers)
                except DamagedBlob:
                    self.catalog.mark_damaged(known)
                    raise
        return Resolved(known.id, known.digest, known.config.value, paths)

    async def pull_image(self, reference: str, logins: Sequence[Login] = ()) -> PullResult:
        """Fetch a reference from its registry and unpack it, even if there is one of that name. `logins` count
        before those of this machine. Callers that want the same one at the same time share one pull.

        Raises: TerminalError(reason="InvalidImageName"), TransientError(reason="ErrImagePull" or "NoSpace"), HostError.
        """
        return await self._exchange.pull_image(_checked_name(reference), logins)

    async def pull(
        self, reference: str, *, platform: str = "", verify_tls: bool = True, logins: Sequence[Login] | None = None
    ) -> AsyncIterator[str | Progress]:
        """See `Images.pull`; raises what `pull_image` does, and TerminalError(reason="InvalidPlatform")."""
        pulling = self._exchange.pull(_checked_name(reference), platform, verify_tls, logins)
        async with contextlib.aclosing(pulling) as told:
            async for said in told:
                yield said

    async def push(
        self, reference: str, *, verify_tls: bool = True, logins: Sequence[Login] | None = None
    ) -> AsyncIterator[str | Progress]:
        """See `Images.push`.

        Raises: TerminalError(reason="NotFound" or "InvalidImageName"), TransientError(reason="ErrImagePush"),
        HostError.
        """
        pushing = self._exchange.push(_checked_name(reference), verify_tls, logins)
        async with contextlib.aclosing(pushing) as told:
            async for said in told:
                yield said

    async def load(self, archive: str, *, reference: str = "") -> AsyncIterator[str]:
        """See `Images.load`. `reference` names the image of an archive that has one.

        Raises: TerminalError(reason="InvalidImage" or "InvalidImageName"), TransientError(reason="NoSpace"), HostError.
        """
        given = (_checked_name(reference),) if reference else ()
        what = f"loading {archive}"
        async with self._content(), self._staging() as opened:
            packed = await asyncio.to_thread(open_archive, Path(archive), opened.path / "archive")
            if given and len(packed) != 1:
                raise TerminalError(f"{archive} holds {len(packed)} images; a name fits one", reason="InvalidImageName")
            for image in packed:
                async with self._staging() as staging:
                    copying = transport.copy_from_file(image.source, self.layout.blobs, staging, what=what)
                    async with contextlib.aclosing(copying) as lines:
                        async for line in lines:
                            yield line
                    if image.docker_config:
                        await asyncio.to_thread(
                            restore_docker_fields, staging.path / "index.json", self.layout, image.docker_config
                        )
                    known = await self._take(staging, given or image.names)
                for name in given or image.names or (known.id,):
                    yield f"loaded {familiar(name)}"

    async def import_root(self, archive: str, reference: str) -> AsyncIterator[str]:
        """See `Images.import_root`.

        Raises: TerminalError(reason="InvalidImage" or "InvalidImageName"), TransientError(reason="NoSpace"), HostError.
        """
        name = _checked_name(reference)
        yield f"importing {archive}"
        async with self._content(), self._staging() as staging:
            await asyncio.to_thread(
                pack_root, Path(archive), self.layout, staging, architecture=ARCHITECTURE, now=time.time()
            )
            await self._take(staging, (name,))
        yield f"loaded {familiar(name)}"

    def build(
        self,
        context: str,
        *,
        reference: str,
        also: Sequence[str] = (),
        dockerfile: str = "",
        target: str = "",
        build_args: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        no_cache: bool = False,
    ) -> AsyncIterator[str]:
        """See `Images.build`; `dockerfile` is relative to `context`. Images that FROM and COPY --from
        name come out of this store, pulled into it first where they are not there.

        Raises: what `Images.build` and `pull_image` do.
        """
        files = {name: Path(file) for name, file in (secrets or {}).items()}
        order = Order(Path(context), dockerfile, target, build_args or {}, files, no_cache)
        site = Site(self.layout, self.catalog, self._content, self._staging, self._take, self.pull_image)
        return build_image(site, self._builder, order, [_checked_name(name) for name in (reference, *also)])

    async def list(self) -> Sequence[Image]:
        """See `Images.list`: newest first."""
        with disk_errors(self.layout.path):
            return [image_of(listed) for listed in await asyncio.to_thread(self.catalog.images)]

    async def save(self, images: Sequence[str], archive: str, *, form: str = "docker") -> AsyncIterator[str]:
        """See `Images.save`."""
        async with self._content():
            chosen: dict[str, Chosen] = {}
            for asked in images:
                listed, name = await asyncio.to_thread(self.catalog.look_up, asked)
                before = chosen.get(listed.known.id, Chosen(listed.known, ()))
                now = dict.fromkeys((*before.names, name) if name else before.names)
                chosen[listed.known.id] = Chosen(listed.known, tuple(now))
            await asyncio.to_thread(write_archive, tuple(chosen.values()), self.layout, Path(archive), form)
        for asked in images:
            yield f"saved {asked}"

    async def tag(self, image: str, reference: str) -> None:
        """See `Images.tag`."""
        await self._upkeep.tag(image, _checked_name(reference))

    async def remove(self, image: str, *, force: bool = False) -> Sequence[str]:
        """See `Images.remove`."""
        return await self._upkeep.remove(image, force=force)

    async def inspect(self, image: str) -> ImageDetail:
        """See `Images.inspect`."""
        return await self._upkeep.inspect(image)

    async def stored(self) -> Sequence[StoredImage]:
        """See `Images.stored`."""
        return await self._upkeep.stored()

    async def in_use(self) -> Set[str]:
        """See `Images.in_use`."""
        return self._in_use().keys()

    async def delete(self, ids: Sequence[str]) -> Sequence[str]:
        """See `Images.delete`."""
        return await self._upkeep.delete(ids)

    async def disk(self) -> ImageDisk:
        """See `Images.disk`."""
        return await self._upkeep.disk()

    async def build_cache_bytes(self) -> int:
        """See `Images.build_cache_bytes`."""
        return await self._upkeep.build_cache_bytes()

    async def clear_build_cache(self) -> None:
        """See `Images.clear_build_cache`."""
        await self._upkeep.clear_build_cache()

    async def _take(self, staging: Staging, given: Iterable[str], *, origin: str = "") -> Known:
        """Give the image in a staging directory its names, once it is unpacked: what has a name can run.
        `origin` is its digest in the registry it comes from."""
        (entry,) = parse_index((staging.path / "index.json").read_bytes())
        if origin:
            entry = replace(entry, annotations={**entry.annotations, ORIGIN: origin})
        known = self.catalog.read(entry)
        await self._unpack(known)
        await asyncio.to_thread(self.layout.update, partial(names.give_names, image=entry, names=tuple(given)))
        self.catalog.mark_whole(known)
        return known

    async def _unpack(self, known: Known) -> tuple[Path, ...]:
        """Its layers, ready to be mounted. Raises: InvalidImage."""
        return await self.layers.ensure_layers(known.layers(self.layout))

    @contextlib.asynccontextmanager
    async def _content(self) -> AsyncIterator[None]:
        """Blobs and layers are safe from a sweep; one that was put off comes after."""
        with disk_errors(self.layout.path), contextlib.ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, self.layout.shared_content())
            yield
        await self._upkeep.sweep_if_due()

    @contextlib.asynccontextmanager
    async def _staging(self) -> AsyncIterator[Staging]:
        # who is cancelled while it is made must still remove it
        making = asyncio.create_task(asyncio.to_thread(Staging, self.layout.staging))
        try:
            yield await asyncio.shield(making)
        finally:
            await asyncio.to_thread((await making).close)


def _checked_name(reference: str) -> str:
    try:
        return normalize(reference)
    except ValueError as error:
        raise TerminalError(str(error), reason="InvalidImageName") from None
