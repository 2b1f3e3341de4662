"""Registries that disappoint, each in its own way: a clear error, nothing half done, and the next pull goes well."""

from __future__ import annotations

import hashlib
import json
import random
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.ports import Progress
from reconciler.runtimes.native.images import registry as registries
from reconciler.runtimes.native.images.store import ImageStore
from tests.e2e.faulty import Answer, Asked, Faulty, Spoil, content, cut, flipped, in_front_of, slow, status, truncated
from tests.e2e.registry import Registry
from tests.images import LayerTar, busybox_archive, docker_archive

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def faulty(registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Faulty]:
    monkeypatch.setattr(registries, "_AGAIN_SECONDS", (0.01, 0.01))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with in_front_of(registry) as faulty:
        yield faulty


@pytest.fixture
def web(registry: Registry, faulty: Faulty, tmp_path: Path) -> str:
    """An image of two layers, about 100,000 and 200 bytes, behind the faults; the second is of this test alone."""
    layers = [LayerTar().add("noise", random.Random(1).randbytes(100_000)), LayerTar().add("me", bytes(tmp_path))]
    archive = docker_archive(tmp_path / "a.tar", [layer.content() for layer in layers], ["web:1"])
    name = f"{tmp_path.name.replace('_', '').lower()}:1"
    registry.push(archive, name)
    return f"{faulty.host}/{name}"


def raw_manifest(registry: Registry, reference: str) -> bytes:
    name, _, tag = reference.partition("/")[2].rpartition(":")
    request = urllib.request.Request(f"http://{registry.host}/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})
    with urllib.request.urlopen(request) as answer:
        raw = answer.read()
        assert isinstance(raw, bytes)
        return raw


def manifest_of(registry: Registry, reference: str) -> Any:
    return json.loads(raw_manifest(registry, reference))


def entry_of(registry: Registry, reference: str, platform: str) -> dict[str, Any]:
    """An entry of an index that says the image is for `platform`."""
    raw = raw_manifest(registry, reference)
    return {
        "mediaType": MANIFEST,
        "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
        "size": len(raw),
        "platform": dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False)),
    }


def index_of(*entries: dict[str, Any]) -> Any:
    return content({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}, INDEX)


def blobs(store: ImageStore) -> set[str]:
    return {path.name for path in (store.layout.blobs / "sha256").iterdir()}


async def fails(store: ImageStore, reference: str, message: str) -> TransientError:
    """The pull fails with this message, and nothing of it can be seen or is under way."""
    with pytest.raises(TransientError) as caught:
        await store.pull_image(reference)
    assert caught.value.reason == "ErrImagePull"
    assert str(caught.value).startswith(f"pulling '{reference}': ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert store.references() == {}
    assert list(store.layout.staging.iterdir()) == []
    return caught.value


async def works_once_healed(store: ImageStore, faulty: Faulty, reference: str) -> None:
    faulty.heal()
    await store.pull_image(reference)
    assert (await store.resolve(reference)).layers


@pytest.mark.parametrize(
    ("pattern", "spoil", "message"),
    [
        pytest.param("/manifests/", status(401, "UNAUTHORIZED"), "not logged in, or no such image", id="401"),
        pytest.param("/manifests/", status(403, "DENIED"), "the registry denies access", id="403"),
        pytest.param("/v2/$", status(403), "the registry denies access", id="403 from the start"),
        pytest.param("/blobs/", status(403), "the registry denies access", id="403 of a layer"),
        pytest.param("/v2/$", status(500), "the registry failed", id="500 from the start"),
        pytest.param("/manifests/", status(500), "the registry failed", id="500"),
        pytest.param("/blobs/", status(503), "the registry failed", id="503 of a layer"),
        pytest.param("/manifests/", status(404, "MANIFEST_UNKNOWN"), "no such image", id="no such image"),
        pytest.param("/blobs/", status(404, "BLOB_UNKNOWN"), "the registry lacks a part of it", id="missing blob"),
        pytest.param("/blobs/", flipped, "does not match its digest", id="wrong blob"),
        pytest.param("/blobs/", truncated, "does not match its digest", id="truncated blob"),
        pytest.param("/blobs/", cut(0.5), "the registry cut the connection", id="cut in the middle of a layer"),
        pytest.param(
            "/manifests/", cut(0.5), "the registry cut the connection", id="cut in the middle of the manifest"
        ),
        pytest.param("/manifests/", content(b"<html>login</html>", "text/html"), "is not JSON", id="a web page"),
        pytest.param("/manifests/", content([], MANIFEST), "is not a JSON object", id="no manifest"),
    ],
)
async def test_faults(store: ImageStore, faulty: Faulty, web: str, pattern: str, spoil: Any, message: str) -> None:
    faulty.on(pattern, spoil)
    error = await fails(store, web, message)
    assert error.retry_after_seconds is None
    await works_once_healed(store, faulty, web)


def once_there(store: ImageStore, digest: str, spoil: Spoil) -> Spoil:
    """Spoil an answer, but not before another blob has come."""

    def wait_and_spoil(asked: Asked, answer: Answer) -> Answer:
        deadline = time.monotonic() + 10
        while not store.layout.blob_path(digest).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return spoil(asked, answer)

    return wait_and_spoil


async def test_a_missing_or_wrong_part_leaves_nothing(
    store: ImageStore, registry: Registry, faulty: Faulty, web: str
) -> None:
    big, small = (layer["digest"] for layer in manifest_of(registry, web)["layers"])
    for spoil in (status(404, "BLOB_UNKNOWN"), flipped, truncated):
        faulty.heal()
        faulty.on(f"/blobs/{big}", once_there(store, small, spoil))
        await fails(store, web, "")
        assert blobs(store) == set(), "not even the part that was right"


@pytest.mark.parametrize("spoil", [status(502), cut(0.3), status(401, "UNAUTHORIZED")], ids=["502", "cut", "expired"])
async def test_what_breaks_once_is_tried_again(store: ImageStore, faulty: Faulty, web: str, spoil: Any) -> None:
    faulty.on("/blobs/", spoil, times=1)
    await store.pull_image(web)
    assert (await store.resolve(web)).layers


async def test_a_broken_pull_goes_on_where_it_was(
    store: ImageStore, registry: Registry, faulty: Faulty, web: str
) -> None:
    big, small = (layer["digest"] for layer in manifest_of(registry, web)["layers"])

    faulty.on(f"/blobs/{big}", once_there(store, small, cut(0.5)))
    await fails(store, web, "the registry cut the connection")
    assert blobs(store) == {small.removeprefix("sha256:")}, "what was whole stays, and nothing else"
    assert faulty.count(f"blobs/{big}") == 3, "it was tried again"
    faulty.heal()
    result = await store.pull_image(web)
    assert faulty.count(f"blobs/{small}") == 1
    assert result.bytes == store.layout.blob_path(big).stat().st_size


async def test_an_expired_token_is_replaced(store: ImageStore, faulty: Faulty, web: str) -> None:
    """A registry with tokens, which takes back the one it gave before it gives the layers."""
    tokens: list[str] = []
    taken_back: set[str] = set()
    realm = f'Bearer realm="http://{faulty.host}/token",service="test",scope="repository:x:pull"'

    def give(asked: Asked, answer: Answer) -> Answer:
        tokens.append(f"token-{len(tokens)}")
        return content({"token": tokens[-1], "expires_in": 300}, "application/json")(asked, answer)

    def guard(asked: Asked, answer: Answer) -> Answer:
        given = asked.authorization.removeprefix("Bearer ")
        if "/blobs/" in asked.path and len(taken_back) < 2:
            taken_back.add(given)
        if given not in tokens or given in taken_back:
            return status(401, "UNAUTHORIZED", {"Www-Authenticate": f'{realm},error="invalid_token"'})(asked, answer)
        return answer

    faulty.on("^/token", give)
    faulty.on("^/v2/", guard)
    await store.pull_image(web)
    assert len(tokens) >= 3


async def test_a_short_wait_is_waited_for(store: ImageStore, faulty: Faulty, web: str) -> None:
    faulty.on("/manifests/", status(429, "TOOMANYREQUESTS", {"Retry-After": "1"}), times=1)
    started = time.monotonic()
    await store.pull_image(web)
    assert time.monotonic() - started >= 1


async def test_a_long_wait_is_told(store: ImageStore, faulty: Faulty, web: str) -> None:
    faulty.on("/manifests/", status(429, "TOOMANYREQUESTS", {"Retry-After": "42"}))
    started = time.monotonic()
    error = await fails(store, web, "too many requests; it asks to wait for 42 s")
    assert error.retry_after_seconds == 42
    assert time.monotonic() - started < 10
    await works_once_healed(store, faulty, web)


async def test_a_slow_registry_is_borne_and_its_progress_told(store: ImageStore, faulty: Faulty, web: str) -> None:
    faulty.on("/blobs/", slow(60_000))
    told = [said async for said in store.pull(web)]
    progress = [said for said in told if isinstance(said, Progress)]
    (total,) = {said.total_bytes for said in progress}
    assert total > 100_000
    done = [said.done_bytes for said in progress]
    assert done == sorted(done) and done[-1] == total
    assert len({bytes for bytes in done if 0 < bytes < total}) >= 2, "not only when a layer is whole"
    lines = [said for said in told if isinstance(said, str)]
    assert sum("fetched" in line for line in lines) == 2


async def test_only_other_platforms(store: ImageStore, registry: Registry, faulty: Faulty, web: str) -> None:
    entries = [entry_of(registry, web, platform) for platform in ("linux/arm64", "windows/amd64")]
    faulty.on("/manifests/1$", index_of(*entries))
    await fails(store, web, "the image has no linux/amd64, only linux/arm64, windows/amd64")
    assert faulty.count("/blobs/") == 0, "nothing was fetched in vain"


async def test_the_platform_that_was_asked_for(store: ImageStore, registry: Registry, faulty: Faulty, web: str) -> None:
    """One entry of an index is this machine's, the other is not there at all."""
    absent = entry_of(registry, web, "linux/arm64/v8") | {"digest": "sha256:" + "0" * 64}
    mine = entry_of(registry, web, "linux/amd64")
    faulty.on("/manifests/1$", index_of(absent, mine))
    await store.pull_image(web)
    assert (await store.resolve(web)).digest == mine["digest"]
    for platform in ("linux/arm64", "arm64", "linux/arm64/v8"):
        with pytest.raises(TransientError, match="no such image"):
            await pull(store, web, platform=platform)
    with pytest.raises(TransientError, match="the image has no linux/s390x"):
        await pull(store, web, platform="linux/s390x")
    with pytest.raises(TerminalError, match="is not a platform") as caught:
        await pull(store, web, platform="a/b/c/d")
    assert caught.value.reason == "InvalidPlatform"
    assert store.references().keys() == {web}, "what was there stays"


async def test_an_image_for_another_machine(
    store: ImageStore, registry: Registry, faulty: Faulty, tmp_path: Path
) -> None:
    archive = busybox_archive(tmp_path / "a.tar", files={"arm": b"64"}, architecture="arm64")
    registry.push(archive, "arm:1")
    reference = f"{faulty.host}/arm:1"
    await fails(store, reference, "the image is for linux/arm64, not for linux/amd64; --platform linux/arm64")
    assert blobs(store) == set()
    await pull(store, reference, platform="linux/arm64")
    assert [image.platform for image in await store.list()] == ["linux/arm64"]


@pytest.mark.parametrize(
    ("part", "media_type", "message"),
    [
        ("config", "application/vnd.cncf.helm.config.v1+json", "not a container image"),
        ("layer", "application/vnd.example.layer.v9", "has the type 'application/vnd.example.layer.v9'"),
    ],
)
async def test_media_types_that_nobody_knows(
    store: ImageStore, registry: Registry, faulty: Faulty, web: str, part: str, media_type: str, message: str
) -> None:
    manifest = manifest_of(registry, web)
    changed = manifest["config"] if part == "config" else manifest["layers"][0]
    changed["mediaType"] = media_type
    faulty.on("/manifests/", content(manifest, MANIFEST))
    await fails(store, web, message)
    assert faulty.count("/blobs/") == 0


async def test_a_digest_that_gives_something_else(store: ImageStore, faulty: Faulty, web: str) -> None:
    wanted = f"{web.rpartition(':')[0]}@sha256:{'0' * 64}"
    faulty.on("/manifests/", content({"schemaVersion": 2}, MANIFEST))
    await fails(store, wanted, "does not match its digest")


async def test_an_unchanged_image_costs_one_manifest(store: ImageStore, faulty: Faulty, web: str) -> None:
    await store.pull_image(web)
    stamp = store.layout.stamp()
    faulty.seen.clear()
    result = await store.pull_image(web)
    assert result.bytes == 0
    name = web.partition("/")[2].removesuffix(":1")
    assert [line for line in faulty.seen if line != "GET /v2/"] == [f"GET /v2/{name}/manifests/1"]
    assert store.layout.stamp() == stamp


async def test_an_unchanged_image_that_lost_a_layer_is_whole_again(store: ImageStore, faulty: Faulty, web: str) -> None:
    await store.pull_image(web)
    for path in (store.layout.blobs / "sha256").iterdir():
        if path.read_bytes()[:2] == b"\x1f\x8b":
            path.unlink()
    for chain_id in store.layers.chain_ids():
        store.layers.remove(chain_id)
    assert (await store.pull_image(web)).bytes > 0
    assert (await store.resolve(web)).layers


async def pull(store: ImageStore, reference: str, **options: Any) -> list[str | Progress]:
    return [said async for said in store.pull(reference, **options)]
