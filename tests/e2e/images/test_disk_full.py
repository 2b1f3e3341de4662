"""A disk that is too small: the reason is NoSpace, nothing half done stays, and smaller images still fit."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import TransientError
from reconciler.runtimes.native.images.store import ImageStore
from tests.images import LayerTar, docker_archive


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """16 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(
    "megabytes",
    [pytest.param(10, id="the blob fits, the unpacked layer does not"), pytest.param(30, id="not even the blob fits")],
)
async def test_a_full_disk(small_disk: Path, tmp_path: Path, megabytes: int) -> None:
    store = await ImageStore.open(small_disk)
    large = LayerTar().add("large", random.Random(1).randbytes(megabytes << 20)).content()
    with pytest.raises(TransientError) as caught:
        async for _ in store.load(str(docker_archive(tmp_path / "large.tar", [large], ["large:1"]))):
            pass
    assert caught.value.reason == "NoSpace"
    assert store.references() == {}
    assert list(store.layout.staging.iterdir()) == []
    assert store.layers.chain_ids() == set()
    await store.aclose()
    store = await ImageStore.open(small_disk)  # which sweeps the blob that nobody names
    small = LayerTar().add("small", bytes(1 << 20)).content()
    async for _ in store.load(str(docker_archive(tmp_path / "small.tar", [small], ["small:1"]))):
        pass
    assert list(store.references()) == ["docker.io/library/small:1"]
    await store.aclose()
