"""Keeps images from filling the disk: looks now and then, and carries out what plan/garbage.py decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Set

from reconciler.control.store import Store
from reconciler.errors import ReconcilerError
from reconciler.model.kinds import Deployment, Object, Pod, ReplicaSet
from reconciler.model.ref import Ref
from reconciler.model.reference import normalize
from reconciler.plan.garbage import HIGH_PERCENT, Disk, Garbage, Sighting, plan_garbage, remember
from reconciler.ports import Clock, Images
from reconciler.telemetry import Telemetry

log = logging.getLogger(__name__)

_FIRST_SECONDS = 20.0
_PERIOD_SECONDS = 300.0
_NODE = Ref("Namespace", "", "default")  # what is told of the whole machine is told here


class GarbageCollector:
    """Removes unused images while the disk is too full, and measures the store."""

    def __init__(self, images: Images, store: Store, clock: Clock, telemetry: Telemetry) -> None:
        self._images = images
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._sightings: Mapping[str, Sighting] = {}
        self._looks_in_vain = 0

    async def run(self) -> None:
        """Work until cancelled. The first look waits until a daemon that starts has done its first work."""
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            try:
                await self.collect()
            except ReconcilerError as error:
                log.warning("images: %s", error)
                self._store.event(_NODE, "ImageGCFailed", str(error), warning=True)
            await asyncio.sleep(_PERIOD_SECONDS)

    async def collect(self) -> None:
        """One look, and what follows from it."""
        images, in_use, now = await self._images.stored(), await self._images.in_use(), self._clock.now()
        self._sightings = remember(self._sightings, (image.id for image in images), in_use, now)
        taken = await self._images.disk()
        if self._store.loaded:  # before, nothing is known of what manifests name
            garbage = plan_garbage(
                images,
                in_use=in_use,
                named=named_images(self._store),
                disk=taken.filesystem,
                sightings=self._sightings,
                now=now,
            )
            if garbage.remove:
                gone = await self._images.delete(garbage.remove)
                self._tell(garbage, len(gone), taken.filesystem)
                images, taken = await self._images.stored(), await self._images.disk()
            self._complain(garbage, taken.filesystem)
        self._telemetry.images.set(len(images))
        self._telemetry.image_store_bytes.labels("blobs").set(taken.blobs_bytes)
        self._telemetry.image_store_bytes.labels("layers").set(taken.layers_bytes)

    def _tell(self, garbage: Garbage, count: int, disk: Disk) -> None:
        said = (
            f"the disk of the images was {disk.used_percent} % full: removed {count} unused images, "
            f"{garbage.freed_bytes / 1e6:.0f} MB"
        )
        log.info("%s", said)
        self._store.event(_NODE, "ImagesRemoved", said)
        self._telemetry.images_removed_total.labels("space").inc(count)
        self._telemetry.images_freed_bytes_total.inc(garbage.freed_bytes)

    def _complain(self, garbage: Garbage, disk: Disk) -> None:
        """When too little can go twice in a row (at first everything is new): once, until it is enough again."""
        short = garbage.wanted_bytes - garbage.freed_bytes
        self._looks_in_vain = self._looks_in_vain + 1 if short > 0 else 0
        if self._looks_in_vain == 2:
            said = (
                f"the disk of the images is {disk.used_percent} % full (mark: {HIGH_PERCENT} %), and all images that "
                f"are left are in use or named by a manifest: {short / 1e6:.0f} MB more should become free"
            )
            log.warning("%s", said)
            self._store.event(_NODE, "FreeDiskSpaceFailed", said, warning=True)


def named_images(store: Store) -> Set[str]:
    """The normalized references of all images that a declared object names, whether it runs now or not."""
    found: set[str] = set()
    for kind in ("Pod", "ReplicaSet", "Deployment"):
        for record in store.list(kind):
            found |= _images_of(record.object)
    return found


def _images_of(declared: Object) -> set[str]:
    match declared:
        case Pod(spec=spec):
            pass
        case ReplicaSet() | Deployment():
            spec = declared.spec.template.spec
        case _:
            return set()
    images = [container.image for container in (*spec.containers, *(spec.init_containers or ()))]
    found = set()
    for image in images:
        try:
            found.add(normalize(image or ""))
        except ValueError:  # admission has told
            continue
    return found
