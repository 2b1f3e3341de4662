"""The collector: one look after the other, on virtual time, over images that are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.control.database import Database
from reconciler.control.garbage import GarbageCollector, named_images
from reconciler.control.store import Store
from reconciler.errors import TransientError
from reconciler.manifest.reader import Reader
from reconciler.plan.garbage import Disk, StoredImage
from reconciler.ports import ImageDisk
from reconciler.telemetry import Telemetry
from tests.virtual import VirtualClock, run


class FakeImages:
    """Images of 100 bytes each, on a disk of 1000 of which others have taken `others`."""

    def __init__(self, *names: str, others: int = 0) -> None:
        self.ids = {name: f"sha256:{name}" for name in names}
        self.others = others
        self.used: set[str] = set()
        self.deleted: list[str] = []
        self.fails = False

    async def stored(self) -> Sequence[StoredImage]:
        return [StoredImage(id, (f"docker.io/library/{name}:1",), id, {id: 100}) for name, id in self.ids.items()]

    async def in_use(self) -> set[str]:
        return self.used

    async def disk(self) -> ImageDisk:
        taken = 100 * len(self.ids)
        return ImageDisk(taken, 0, Disk(1000, 1000 - self.others - taken))

    async def delete(self, ids: Sequence[str]) -> Sequence[str]:
        if self.fails:
            raise TransientError("the disk is gone", reason="ImageStoreUnusable")
        self.deleted += ids
        self.ids = {name: id for name, id in self.ids.items() if id not in ids}
        return ids


class World:
    def __init__(self, clock: VirtualClock, images: FakeImages, manifest: str = "") -> None:
        self.images, self.telemetry = images, Telemetry()
        self.store = Store(Database(Path(":memory:")), clock, "0123abcd")
        self.store.apply(Reader().read({"all.yaml": manifest.encode()} if manifest else {}), "r1")
        self.collector = GarbageCollector(images, self.store, clock, self.telemetry)  # type: ignore[arg-type]

    def events(self) -> list[tuple[str, str]]:
        return [(event.reason, event.message) for event in self.store.events()]

    def metric(self, name: str, **labels: str) -> float:
        value = self.telemetry.registry.get_sample_value(name, labels)
        assert value is not None
        return value


def test_a_full_disk_is_cleaned_at_the_second_look() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        world = World(clock, FakeImages("a", "b", "c", others=600))
        world.images.used = {"sha256:a"}
        task = asyncio.create_task(world.collector.run())
        await asyncio.sleep(30)
        assert world.images.deleted == [], "what was never seen before is new"
        assert world.metric("reconciler_images") == 3
        await asyncio.sleep(300)
        assert world.images.deleted == ["sha256:b"]
        assert [reason for reason, _ in world.events()] == ["ImagesRemoved"]
        assert "was 90 % full: removed 1 unused images" in world.events()[0][1]
        assert world.metric("kubelet_image_garbage_collected_total", reason="space") == 1
        assert world.metric("reconciler_images_freed_bytes_total") == 100
        assert world.metric("reconciler_image_store_bytes", part="blobs") == 200
        await asyncio.sleep(900)
        assert world.images.deleted == ["sha256:b"], "below the mark nothing more goes"
        task.cancel()

    run(scenario())


def test_what_cannot_be_freed_is_told_once() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        world = World(clock, FakeImages("a", others=890))
        world.images.used = {"sha256:a"}
        for _ in range(3):
            await world.collector.collect()
        ((reason, message),) = world.events()
        assert reason == "FreeDiskSpaceFailed"
        assert "is 99 % full" in message
        assert world.store.events()[0].count == 1
        world.images.others = 0
        await world.collector.collect()
        world.images.others = 890
        for _ in range(2):
            await world.collector.collect()
        assert world.store.events()[0].count == 2

    run(scenario())


def test_a_store_that_fails_is_told_and_tried_again() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        world = World(clock, FakeImages("a", others=890))
        world.images.fails = True
        task = asyncio.create_task(world.collector.run())
        await asyncio.sleep(330)
        assert ("ImageGCFailed", "the disk is gone") in world.events()
        world.images.fails = False
        await asyncio.sleep(300)
        assert world.images.deleted == ["sha256:a"]
        task.cancel()

    run(scenario())


MANIFESTS = """\
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  initContainers: [{name: init, image: 'a:1'}]
  containers: [{name: main, image: 'registry.example/b@sha256:%s'}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 0
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec: {containers: [{name: main, image: c}]}
""" % ("0" * 64)


def test_what_manifests_name() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        world = World(clock, FakeImages(), MANIFESTS)
        assert named_images(world.store) == {
            "docker.io/library/a:1",
            "registry.example/b@sha256:" + "0" * 64,
            "docker.io/library/c:latest",
        }

    run(scenario())


@pytest.mark.parametrize("loaded", [True, False])
def test_nothing_goes_before_it_is_known_what_manifests_name(loaded: bool) -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        world = World(clock, FakeImages("a", others=890))
        world.store.loaded = loaded
        await world.collector.collect()
        await asyncio.sleep(200)
        await world.collector.collect()
        assert world.images.deleted == (["sha256:a"] if loaded else [])

    run(scenario())
