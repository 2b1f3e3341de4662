"""From an order to an image with a name: the store's images handed to buildah, and what it built taken back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from reconciler.errors import TerminalError
from reconciler.model.reference import familiar, normalize
from reconciler.runtimes.native.images import names, transport
from reconciler.runtimes.native.images.build import Builder, Order, docker_source, restore_docker_fields
from reconciler.runtimes.native.images.catalog import Catalog
from reconciler.runtimes.native.images.dockerfile import images_needed
from reconciler.runtimes.native.images.layout import Layout
from reconciler.runtimes.native.images.spec import REF_NAME
from reconciler.runtimes.native.images.staging import Staging


@dataclass(frozen=True, slots=True)
class Site:
    """What of the store a build needs: within `content` nothing is swept, `take` unpacks the image of a staging
    directory and gives it its names, `pull` fetches a normalized name."""

    layout: Layout
    catalog: Catalog
    content: Callable[[], AbstractAsyncContextManager[None]]
    staging: Callable[[], AbstractAsyncContextManager[Staging]]
    take: Callable[[Staging, Sequence[str]], Awaitable[object]]
    pull: Callable[[str], Awaitable[object]]


async def build_image(site: Site, builder: Builder, order: Order, given: Sequence[str]) -> AsyncIterator[str]:
    """See `Images.build`. `given` are normalized."""
    dockerfile = await asyncio.to_thread(order.read_dockerfile)
    async with site.content(), site.staging() as staging, builder.in_turn():
        for image in images_needed(dockerfile.instructions, order.build_args, order.target):
            base = _checked(image)
            if base not in site.catalog.references():
                yield f"pulling {familiar(base)}"
                await site.pull(base)
            await _give(site, builder, base)
        id_file = staging.path / "id"
        async with contextlib.aclosing(builder.build(order, dockerfile, id_file)) as lines:
            async for line in lines:
                yield line
        built = id_file.read_text().strip().removeprefix("sha256:")
        source = f"{await builder.storage()}@{built}"
        async for _ in transport.copy_from_file(source, site.layout.blobs, staging, what=f"keeping {given[0]}"):
            pass
        index = staging.path / "index.json"
        await asyncio.to_thread(restore_docker_fields, index, site.layout, builder.config(built))
        await site.take(staging, given)
    for name in given:
        yield f"built {familiar(name)}"


async def _give(site: Site, builder: Builder, base: str) -> None:
    entry = next(entry for entry in site.layout.entries() if names.name_of(entry) == base)
    known = site.catalog.read(entry)
    async with site.staging() as folder:
        source = await asyncio.to_thread(docker_source, folder.path, site.layout, known.manifest, known.config)
        # index.json may spell the name in another way
        await builder.give(source or f"oci:{site.layout.path}:{entry.annotations[REF_NAME]}", base)


def _checked(image: str) -> str:
    try:
        return normalize(image)
    except ValueError as error:
        raise TerminalError(str(error), reason="InvalidImageName") from None
