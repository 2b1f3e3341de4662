"""A disk that fills with images, and removals that are killed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.control.database import Database
from reconciler.control.garbage import GarbageCollector
from reconciler.control.store import Store
from reconciler.manifest.reader import Reader
from reconciler.runtimes.native.images.store import ImageStore
from reconciler.telemetry import Telemetry
from tests.images import LayerTar, docker_archive

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: main, image: 'image0:1'}]}\n"


class HandClock:
    """A clock that somebody sets."""

    at = 1_790_000_000.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


async def load(store: ImageStore, number: int, path: Path, *, size: int) -> str:
    """An image of about twice `size` on disk: as a blob, and unpacked. Returns: its id."""
    layer = LayerTar().add("content", random.Random(number).randbytes(size)).content()
    archive = docker_archive(path / "a.tar", [layer], [f"image{number}:1"])
    async for _ in store.load(str(archive)):
        pass
    return store.references()[f"docker.io/library/image{number}:1"]


async def test_a_disk_that_is_nearly_full_has_room_again(small_disk: Path, tmp_path: Path) -> None:
    in_use: dict[str, str] = {}
    store = await ImageStore.open(small_disk / "state", in_use=lambda: in_use)
    ids = [await load(store, number, tmp_path, size=7_000_000) for number in range(4)]  # 56 of 105 MB
    in_use[ids[1]] = "a container"
    clock, telemetry = HandClock(), Telemetry()
    declared = Store(Database(Path(":memory:")), clock, "0123abcd")
    declared.apply(Reader().read({"web.yaml": POD.encode()}), "r1")
    collector = GarbageCollector(store, declared, clock, telemetry)
    await collector.collect()
    clock.at += 300
    await collector.collect()
    assert len(store.references()) == 4, "half full is not full"

    (small_disk / "others").write_bytes(bytes(36_000_000))
    await collector.collect()
    left = set(store.references().values())
    assert {ids[0], ids[1]} <= left, "what a manifest names and what a container uses"
    assert len(left) == 3, "one of the other two is enough for 80 %"
    disk = (await store.disk()).filesystem
    assert disk.used_percent <= 80
    assert store.layers.chain_ids() == {layer.name for id in left for layer in (await store.resolve(id)).layers}
    freed = telemetry.registry.get_sample_value("reconciler_images_freed_bytes_total")
    assert freed is not None
    assert 13_900_000 < freed < 14_500_000
    await store.aclose()
    declared.close()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from reconciler.runtimes.native.images.store import ImageStore

async def main(state):
    store = await ImageStore.open(Path(state))
    print("open", flush=True)
    await store.delete(sorted(set(store.references().values())))
    print("done", flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_removal_that_is_killed_leaves_no_orphan(tmp_path: Path) -> None:
    rng = random.Random(7)
    pristine, state, seconds, interrupted = tmp_path / "pristine", tmp_path / "state", 0.3, 0
    store = await ImageStore.open(pristine)
    for number in range(3):
        layer = LayerTar()
        for index in range(500):
            layer.add(f"many/{number}/{index}", rng.randbytes(200))
        archive = docker_archive(tmp_path / "a.tar", [layer.content()], [f"image{number}:1"])
        async for _ in store.load(str(archive)):
            pass
    await store.aclose()
    for round_number in range(8):
        shutil.rmtree(state, ignore_errors=True)
        subprocess.run(["cp", "-a", pristine, state], check=True)
        argv = [sys.executable, "-c", PROGRAM, str(state)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        begun = time.monotonic()
        if round_number:
            time.sleep(seconds * round_number / 8)
            process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=30)[0]
        if not round_number:
            seconds = time.monotonic() - begun
            assert rest == "done\n"
        interrupted += "done" not in rest
        store = await ImageStore.open(state)
        needed = {layer.name for name in store.references() for layer in (await store.resolve(name)).layers}
        assert store.layers.chain_ids() == needed
        assert {path.name for path in (state / "layers/.written").iterdir()} == needed
        assert list((state / "layers/.work").iterdir()) == []
        blobs = {f"sha256:{path.name}" for path in (store.layout.path / "blobs/sha256").iterdir()}
        assert blobs == store.catalog.needed(())[0]
        assert len(needed) in (0, 3), "one edit of the index"
        await store.aclose()
    assert interrupted, "some moment must lie inside the work"
