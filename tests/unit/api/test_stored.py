"""What is done with images that are there, through the API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reconciler.api.client import OWN, ApiError
from reconciler.errors import ConflictError, TerminalError
from reconciler.model.observed import Observed, SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.plan.garbage import StoredImage

REF = Ref("Pod", "default", "web")
SANDBOX = SeenSandbox("s1", "v1:a", addresses=("10.88.0.2",))
RUNNING = SeenContainer("c1", "app", "s1", "v1:b", State.RUNNING, image="docker.io/library/web:1", image_id="sha256:aa")
ENDED = SeenContainer("c2", "app", "s1", "v1:b", State.EXITED, attempt=0, exit_code=1)


def post(world: Any, path: str, body: Any) -> Any:
    return asyncio.to_thread(world.client.request, "POST", f"{OWN}/{path}", body)


def runs(world: Any) -> None:
    world.runtime.observed = Observed({REF: SeenPod(REF, SANDBOX, (RUNNING, ENDED))})


async def test_removing_an_image(world: Any) -> None:
    remove = lambda **query: asyncio.to_thread(world.client.request, "DELETE", f"{OWN}/images", query=query)  # noqa: E731
    assert await remove(reference="web:1") == {"lines": ["untagged web:1"]}
    await remove(reference="aa", force=True)
    assert world.images.asked == [("remove", "web:1", False), ("remove", "aa", True)]
    with pytest.raises(ApiError, match="say which"):
        await remove()
    world.images.fails = TerminalError("no image web:1", reason="NotFound")
    with pytest.raises(ApiError, match="no image web:1") as caught:
        await remove(reference="web:1")
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    world.images.fails = ConflictError("it is in use", reason="ImageInUse")
    with pytest.raises(ApiError, match="it is in use") as caught:
        await remove(reference="web:1")
    assert (caught.value.code, caught.value.reason) == (409, "ImageInUse")


async def test_tagging(world: Any) -> None:
    assert await post(world, "images/tag", {"image": "web:1", "reference": "api:2"}) == {}
    assert world.images.asked == [("tag", "web:1", "api:2")]


async def test_saving(world: Any) -> None:
    order = {"images": ["web:1", "api:1"], "archive": "/a.tar", "form": "oci"}
    lines = await asyncio.to_thread(lambda: list(world.client.stream("POST", f"{OWN}/images/save", order)))
    assert lines[-1] == {"done": True}
    assert world.images.asked == [("save", "web:1", "api:1", "/a.tar", "oci")]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("images/save", {"archive": "/a.tar"}, "images: say which"),
        ("images/save", {"images": ["a"], "archive": "/a.tar", "form": "zip"}, "form: expected one of docker, oci"),
        ("images/save", {"images": ["a"], "archive": "a.tar"}, "archive: expected an absolute path"),
        ("images/tag", {"image": "a"}, "reference: expected a string"),
    ],
)
async def test_orders_that_make_no_sense(world: Any, path: str, body: Any, words: str) -> None:
    with pytest.raises(ApiError, match=words) as caught:
        await post(world, path, body)
    assert caught.value.code == 400
    assert world.images.asked == []


WEB = StoredImage("sha256:aa", ("docker.io/library/web:1",), "sha256:bb", {"base": 100, "web": 20})
LOST = StoredImage("sha256:cc", (), "sha256:dd", {"base": 100, "lost": 5})


async def test_pruning_says_what_goes_and_what_that_frees(world: Any) -> None:
    world.images.on_disk = [WEB, LOST]
    dangling = {"images": [], "freedBytes": 5, "buildCacheBytes": 0}
    assert await post(world, "images/prune", {"dryRun": True}) == dangling
    assert world.images.asked == []
    every = await post(world, "images/prune", {"all": True, "buildCache": True})
    removed = [{"id": "sha256:aa", "references": ["docker.io/library/web:1"]}]
    assert every == {"images": removed, "freedBytes": 125, "buildCacheBytes": 70}
    assert world.images.asked == [("delete", "sha256:aa", "sha256:cc"), ("clear_build_cache",)]


async def test_pruning_spares_what_is_used_or_named_by_a_manifest(world: Any) -> None:
    world.images.on_disk = [WEB, LOST]
    world.images.used = frozenset({"sha256:cc"})
    assert (await post(world, "images/prune", {"all": True, "dryRun": True}))["freedBytes"] == 20
    world.declare(world.pod("web"))  # its image is app:1
    assert (await post(world, "images/prune", {"all": True, "dryRun": True}))["freedBytes"] == 20
    world.declare(world.pod("web", "web"))
    assert (await post(world, "images/prune", {"all": True, "dryRun": True}))["freedBytes"] == 0


async def test_what_the_disk_holds(world: Any) -> None:
    runs(world)
    world.images.on_disk, world.images.used = [WEB, LOST], frozenset({"sha256:aa"})
    assert await world.get(f"{OWN}/system/df") == [
        {"type": "Images", "total": 2, "active": 1, "sizeBytes": 125, "reclaimableBytes": 5},
        {"type": "Containers", "total": 2, "active": 1, "sizeBytes": 42, "reclaimableBytes": 12},
        {"type": "Build Cache", "total": 1, "active": 0, "sizeBytes": 70, "reclaimableBytes": 70},
    ]


async def test_what_there_is_to_know_of_the_instance(world: Any) -> None:
    runs(world)
    assert await world.get(f"{OWN}/system/info") == {
        "version": "0.1.0",
        "containers": {"total": 2, "created": 0, "running": 1, "paused": 0, "exited": 1, "broken": 0},
        "pods": 1,
        "images": 1,
        "name": "here",
        "ociRuntime": "runc",
    }


async def test_inspecting_containers_before_images(world: Any) -> None:
    runs(world)
    (container,) = await world.get(f"{OWN}/inspect", name="web/app")
    assert container["State"]["Status"] == "running"
    (image,) = await world.get(f"{OWN}/inspect", name="web:1")
    assert image["Id"] == "sha256:aa"
    (image,) = await world.get(f"{OWN}/inspect", name="web", type="image")
    assert image["Id"] == "sha256:aa"


@pytest.mark.parametrize(("kind", "words"), [("", "no container or image 'x'"), ("container", "no container 'x'")])
async def test_inspecting_what_is_not_there(world: Any, kind: str, words: str) -> None:
    world.images.fails = TerminalError("image 'x' is not in the store", reason="NotFound")
    with pytest.raises(ApiError, match=words) as caught:
        await world.get(f"{OWN}/inspect", name="x", type=kind)
    assert caught.value.code == 404
    with pytest.raises(ApiError, match="type: expected"):
        await world.get(f"{OWN}/inspect", name="x", type="volume")


async def test_an_ambiguous_id_is_said_to_be_one(world: Any) -> None:
    world.images.fails = ConflictError("'a' is the beginning of several ids", reason="AmbiguousId")
    with pytest.raises(ApiError, match="several ids"):
        await world.get(f"{OWN}/inspect", name="a")


async def test_history(world: Any) -> None:
    world.images.config = {"history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}]}
    shown = await world.get(f"{OWN}/images/history", image="web:1")
    assert [(step["createdBy"], step["sizeBytes"]) for step in shown] == [("", 20), ("b", 0), ("a", 100)]
