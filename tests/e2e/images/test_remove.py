"""What goes when an image is removed, and what must stay."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from reconciler.errors import ConflictError, TerminalError
from reconciler.plan.garbage import total_bytes, unused
from reconciler.runtimes.native.images.store import ImageStore
from tests.images import busybox_archive

ONE, TWO = "docker.io/library/one:1", "docker.io/library/two:1"


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.in_use: dict[str, str] = {}
        self.store: ImageStore

    async def open(self) -> None:
        self.store = await ImageStore.open(self.path / "state", in_use=lambda: self.in_use)

    async def load(self, name: str, content: bytes) -> None:
        archive = busybox_archive(self.path / f"{name.replace(':', '-')}.tar", name, files={"own": content})
        async for _ in self.store.load(str(archive)):
            pass

    def blobs(self) -> set[str]:
        return {path.name for path in (self.store.layout.path / "blobs/sha256").iterdir()}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    yield world
    await world.store.aclose()


async def test_the_last_name_takes_the_image_with_it_but_not_what_others_share(world: World) -> None:
    await world.load("one:1", b"1")
    one = await world.store.resolve(ONE)
    blobs_of_one = world.blobs()
    await world.load("two:1", b"2")
    two = await world.store.resolve(TWO)
    assert await world.store.remove("two:1") == ["untagged two:1", f"deleted {two.id}"]
    assert world.blobs() == blobs_of_one
    assert world.store.layers.chain_ids() == {path.name for path in one.layers}
    assert await world.store.remove("one:1") == ["untagged one:1", f"deleted {one.id}"]
    assert world.blobs() == set()
    assert world.store.layers.chain_ids() == set()
    assert await world.store.list() == []


async def test_one_of_two_names(world: World) -> None:
    await world.load("one:1", b"1")
    await world.load("two:1", b"1")
    assert await world.store.remove("one:1") == ["untagged one:1"]
    assert (await world.store.resolve(TWO)).layers[1].is_dir()


async def test_what_a_container_uses_stays(world: World) -> None:
    await world.load("one:1", b"1")
    one = await world.store.resolve(ONE)
    world.in_use = {one.id: "container main of pod default/web"}
    with pytest.raises(ConflictError, match="image one:1 is in use by container main of pod default/web") as caught:
        await world.store.remove("one:1")
    assert caught.value.reason == "ImageInUse"
    assert list(world.store.references()) == [ONE]
    kept = f"kept {one.id}: container main of pod default/web uses it"
    assert await world.store.remove("one:1", force=True) == ["untagged one:1", kept]
    assert world.store.references() == {}
    await world.store.aclose()
    await world.open()
    assert (await world.store.resolve(one.id)).layers == one.layers
    assert all(path.is_dir() for path in one.layers)


async def test_what_a_container_uses_stays_even_if_somebody_emptied_the_index(world: World) -> None:
    await world.load("one:1", b"1")
    one = await world.store.resolve(ONE)
    world.in_use = {one.id: "container main of pod default/web"}
    world.store.layout.update(lambda before: [])
    await world.store.aclose()
    await world.open()
    assert all(path.is_dir() for path in one.layers)


async def test_a_removal_during_a_load_harms_neither(world: World) -> None:
    await world.load("one:1", b"1")
    with world.store.layout.shared_content():  # as a load in another process does
        await world.store.remove("one:1")
        assert world.blobs() != set()
    await world.load("two:1", b"2")
    two = await world.store.resolve(TWO)
    assert world.store.layers.chain_ids() == {path.name for path in two.layers}, "the sweep was only put off"


async def test_loads_and_removals_all_at_once(world: World) -> None:
    async def life(number: int) -> None:
        for _ in range(3):
            await world.load(f"image{number}:1", b"%d" % number)
            assert all(p.is_dir() for p in (await world.store.resolve(f"docker.io/library/image{number}:1")).layers)
            await world.store.remove(f"image{number}:1")

    await asyncio.gather(*(life(number) for number in range(4)))
    assert world.store.references() == {}
    await world.store.aclose()
    await world.open()
    assert world.blobs() == set()
    assert world.store.layers.chain_ids() == set()


async def test_what_is_not_there(world: World) -> None:
    with pytest.raises(TerminalError, match="image 'one:1' is not in the store") as caught:
        await world.store.remove("one:1")
    assert caught.value.reason == "NotFound"


async def test_one_of_two_names_of_what_a_container_uses(world: World) -> None:
    await world.load("one:1", b"1")
    await world.store.tag("one:1", "two:1")
    world.in_use = dict.fromkeys(world.store.references().values(), "container main of pod default/web")
    assert await world.store.remove("one:1") == ["untagged one:1"]


async def test_by_the_beginning_of_its_id(world: World) -> None:
    await world.load("one:1", b"1")
    await world.store.tag("one:1", "two:1")
    (id,) = set(world.store.references().values())
    with pytest.raises(ConflictError, match=r"has several names \(one:1, two:1\)") as caught:
        await world.store.remove(id[7:19])
    assert caught.value.reason == "SeveralNames"
    assert await world.store.remove(id[7:19], force=True) == ["untagged one:1", "untagged two:1", f"deleted {id}"]
    assert world.blobs() == set()


async def test_several_at_once_but_not_what_is_in_use(world: World) -> None:
    for number in range(3):
        await world.load(f"image{number}:1", b"%d" % number)
    ids = [world.store.references()[f"docker.io/library/image{number}:1"] for number in range(3)]
    world.in_use = {ids[1]: "a container"}
    assert set(await world.store.delete(ids)) == {ids[0], ids[2]}
    assert list(world.store.references()) == ["docker.io/library/image1:1"]
    assert await world.store.delete([ids[0]]) == [ids[0]], "it is gone, and may be asked for again"
    assert len(world.store.layers.chain_ids()) == 2


async def test_what_is_stored_adds_up_to_what_the_disk_holds(world: World) -> None:
    await world.load("one:1", b"1")
    await world.load("two:1", b"2" * 100_000)
    disk = await world.store.disk()
    assert total_bytes(await world.store.stored()) == disk.blobs_bytes + disk.layers_bytes
    freed = unused(await world.store.stored(), in_use=set(), named={ONE}, every=True)
    assert freed.freed_bytes > 200_000
    await world.store.delete(freed.remove)
    after = await world.store.disk()
    assert disk.blobs_bytes + disk.layers_bytes - freed.freed_bytes == after.blobs_bytes + after.layers_bytes


async def test_nothing_is_remembered_of_layers_that_are_gone(world: World) -> None:
    await world.load("one:1", b"1")
    (world.path / "state/layers/.written" / ("0" * 64)).write_text("on disk")  # as a kill after a removal leaves it
    await world.store.aclose()
    await world.open()
    assert {path.name for path in (world.path / "state/layers/.written").iterdir()} == world.store.layers.chain_ids()
