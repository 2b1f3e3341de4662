"""What is saved is taken by others, and by ourselves; what others save is taken by us."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from reconciler.errors import ConflictError, TerminalError
from reconciler.runtimes.native.images.catalog import ARCHITECTURE
from reconciler.runtimes.native.images.spec import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, REF_NAME, DamagedBlob
from reconciler.runtimes.native.images.store import ImageStore
from tests.images import LayerTar, busybox_archive, busybox_layer, docker_archive

WEB, API = "docker.io/library/web:1", "docker.io/library/api:1"
FORMS = pytest.mark.parametrize(("form", "transport"), [("docker", "docker-archive"), ("oci", "oci-archive")])


async def load(store: ImageStore, archive: Path) -> None:
    async for _ in store.load(str(archive)):
        pass


async def save(store: ImageStore, target: Path, *images: str, form: str = "docker") -> Path:
    assert [line async for line in store.save(images, str(target), form=form)] == [f"saved {i}" for i in images]
    return target


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def compressed(store: ImageStore, tmp_path: Path) -> str:
    """Put WEB into the store with gzip layers, as they come from a registry. Returns: its id."""
    archive = busybox_archive(tmp_path / "in.tar", "web:1", files={"www/index.html": b"hi"})
    skopeo("copy", "--dest-compress", "-q", f"docker-archive:{archive}", f"dir:{tmp_path / 'dir'}")
    skopeo("copy", "-q", f"dir:{tmp_path / 'dir'}", f"oci:{tmp_path / 'layout'}:{WEB}")
    await load(store, tmp_path / "layout")
    resolved = await store.resolve(WEB)
    manifest = json.loads(store.layout.read_document(resolved.digest))
    assert {layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]} == {"gzip"}
    return resolved.id


@FORMS
async def test_skopeo_verifies_all_of_it(store: ImageStore, tmp_path: Path, form: str, transport: str) -> None:
    """skopeo hashes every layer against the config, and refuses what does not fit."""
    id = await compressed(store, tmp_path)
    archive = await save(store, tmp_path / "out.tar", "web:1", form=form)
    skopeo("copy", f"{transport}:{archive}:{WEB}", f"dir:{tmp_path / 'taken'}")
    assert json.loads((tmp_path / "taken/manifest.json").read_bytes())["config"]["digest"] == id


@FORMS
async def test_what_we_save_we_take(store: ImageStore, tmp_path: Path, form: str, transport: str) -> None:
    id = await compressed(store, tmp_path)
    await load(store, docker_archive(tmp_path / "b.tar", [busybox_layer(), LayerTar().add("x").content()], ["api:1"]))
    await store.tag("api:1", "registry.example/team/api:2")
    before = store.references()
    asked = ("web:1", "api:1", "registry.example/team/api:2", id[7:20])
    archive = await save(store, tmp_path / "out.tar", *asked, form=form)
    other = await ImageStore.open(tmp_path / "other")
    await load(other, archive)
    assert other.references() == before
    assert ((await other.resolve(WEB)).layers[1] / "www/index.html").read_bytes() == b"hi"
    await other.aclose()


@FORMS
async def test_by_id_it_has_no_name(store: ImageStore, tmp_path: Path, form: str, transport: str) -> None:
    id = await compressed(store, tmp_path)
    other = await ImageStore.open(tmp_path / "other")
    await load(other, await save(store, tmp_path / "out.tar", id, form=form))
    (image,) = await other.list()
    assert (image.id, image.references) == (id, ())
    await other.aclose()


async def test_what_images_share_is_written_once(store: ImageStore, tmp_path: Path) -> None:
    for name in ("web", "api"):
        files = {"name": name.encode()}
        await load(store, busybox_archive(tmp_path / f"{name}.tar", f"{name}:1", files=files))
    archive = await save(store, tmp_path / "out.tar", "web:1", "api:1")
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert len([name for name in names if name.endswith(".tar")]) == 3
    assert len(names) == len(set(names))


async def test_the_same_images_make_the_same_archive(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    first, second = [await save(store, tmp_path / name, "web:1") for name in ("1.tar", "2.tar")]
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
async def test_podman_takes_and_gives(
    store: ImageStore, tmp_path: Path, form: str, request: pytest.FixtureRequest
) -> None:
    run = tempfile.TemporaryDirectory(prefix="p")  # podman takes no path of more than 50 characters
    request.addfinalizer(run.cleanup)
    places = ("--root", str(tmp_path / "root"), "--runroot", run.name)

    def podman(*arguments: str) -> str:
        # in a namespace of its own: what its storage mounts ends with it
        argv = ("unshare", "--mount", "podman", *places, "--storage-driver", "vfs", *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    id = await compressed(store, tmp_path)
    archive = await save(store, tmp_path / "out.tar", "web:1", form=form.partition("-")[0])
    await asyncio.to_thread(podman, "load", "-i", str(archive))
    assert podman("image", "inspect", "--format", "{{.Id}}", WEB).strip() == id.removeprefix("sha256:")
    await asyncio.to_thread(podman, "save", "--format", form, "-o", str(tmp_path / "back.tar"), WEB)
    other = await ImageStore.open(tmp_path / "other")
    await load(other, tmp_path / "back.tar")
    assert other.references() == {WEB: id}
    await other.aclose()


async def test_what_is_not_there_and_what_is_not_clear(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    for asked, words, reason in (
        ("web:2", "image 'web:2' is not in the store", "NotFound"),
        ("WEB", "lower case", "InvalidImageName"),
    ):
        with pytest.raises(TerminalError, match=words) as caught:
            await save(store, tmp_path / "out.tar", "web:1", asked)
        assert caught.value.reason == reason
    assert not (tmp_path / "out.tar").exists()


async def test_a_beginning_that_several_ids_have(store: ImageStore, tmp_path: Path) -> None:
    firsts: dict[str, str] = {}
    for number in range(17):  # of 17 ids two begin alike
        await load(store, busybox_archive(tmp_path / "a.tar", f"n{number}:1", config={"Cmd": [str(number)]}))
        id = store.references()[f"docker.io/library/n{number}:1"]
        if id[7] in firsts:
            break
        firsts[id[7]] = id
    with pytest.raises(ConflictError, match="is the beginning of several ids") as caught:
        await store.inspect(id[7])
    assert caught.value.reason == "AmbiguousId"
    assert (await store.inspect(id)).image.id == id


async def test_a_target_that_cannot_be_written(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    for target, words in ((tmp_path / "none/x.tar", "No such file"), (Path("/dev/null"), "no regular file")):
        with pytest.raises(TerminalError, match=words) as caught:
            await save(store, target, "web:1")
        assert caught.value.reason == "SaveFailed"
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("form", ["docker", "oci"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
async def test_nothing_damaged_gets_out(store: ImageStore, tmp_path: Path, form: str, damage: str) -> None:
    await compressed(store, tmp_path)
    manifest = json.loads(store.layout.read_document((await store.resolve(WEB)).digest))
    blob = store.layout.blob_path(manifest["layers"][0]["digest"])
    match damage:
        case "changed":
            blob.write_bytes(gzip.compress(busybox_layer() + bytes(512)))
        case "cut":
            blob.write_bytes(blob.read_bytes()[:-100])
        case "gone":
            blob.unlink()
    with pytest.raises(DamagedBlob, match="pull or load"):
        await save(store, tmp_path / "out.tar", "web:1", form=form)
    assert not [path for path in tmp_path.iterdir() if "out.tar" in path.name]


async def test_a_name_with_its_digest(store: ImageStore, tmp_path: Path) -> None:
    id = await compressed(store, tmp_path)
    digest = (await store.resolve(WEB)).digest
    assert (await store.resolve(f"docker.io/library/web@{digest}")).id == id
    assert (await store.inspect(f"web:other@{digest}")).image.id == id
    with pytest.raises(TerminalError, match="not in the store"):
        await store.inspect(f"api@{digest}")


async def test_a_tag_moves(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    await load(store, busybox_archive(tmp_path / "b.tar", "api:1", config={"Cmd": ["other"]}))
    web, api = store.references()[WEB], store.references()[API]
    await store.tag(api[7:19], "web:1")
    assert store.references() == {WEB: api, API: api}
    assert {image.id: image.references for image in await store.list()}[web] == ()
    with pytest.raises(TerminalError, match="not in the store"):
        await store.tag("none:1", "web:1")
    with pytest.raises(TerminalError, match="lower case"):
        await store.tag("web:1", "WEB:1")


async def test_what_there_is_to_know_of_an_image(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1", files={"big": bytes(5_000_000)}))
    detail = await store.inspect("web:1")
    assert detail.image == (await store.list())[0]
    assert detail.config["config"]["Cmd"] == ["sh"]
    assert [5_000_000 <= size < 5_100_000 for size in detail.layer_bytes] == [False, True]


async def test_an_image_for_several_platforms(store: ImageStore, tmp_path: Path) -> None:
    """Another program may put all of it into our layout: it stays whole, and this machine's part is what runs."""
    made = tmp_path / "made"
    subprocess.run(["cp", "-a", store.layout.path, made], check=True)
    foreign = json.dumps({"os": "linux", "architecture": "s390x", "rootfs": {"type": "layers", "diff_ids": []}})
    ours = busybox_archive(tmp_path / "a.tar", "web:1")
    skopeo("copy", "-q", f"docker-archive:{ours}", f"oci:{made}:ours")
    (entry,) = json.loads((made / "index.json").read_bytes())["manifests"]
    blobs = made / "blobs/sha256"

    def put(content: str, media_type: str, **more: object) -> dict[str, object]:
        digest = hashlib.sha256(content.encode()).hexdigest()
        (blobs / digest).write_text(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    config = put(foreign, OCI_CONFIG)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []})
    platforms = [
        put(manifest, OCI_MANIFEST, platform={"os": "linux", "architecture": "s390x"}),
        {**entry, "annotations": {}, "platform": {"os": "linux", "architecture": ARCHITECTURE}},
    ]
    index = put(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": platforms}), OCI_INDEX)
    whole = {"schemaVersion": 2, "manifests": [{**index, "annotations": {REF_NAME: "many:1"}}]}
    (made / "index.json").write_text(json.dumps(whole))
    skopeo("copy", "-q", "--multi-arch", "all", f"oci:{made}:many:1", f"oci:{store.layout.path}:many:1")

    (image,) = await store.list()
    assert (image.references, image.digest) == (("docker.io/library/many:1",), index["digest"])
    assert image.platform == f"linux/{ARCHITECTURE}"
    assert ((await store.resolve("docker.io/library/many:1")).layers[0] / "bin/busybox").exists()
    await store.tag("many:1", "other:1")
    await store.remove("many:1")
    await store.aclose()
    again = await ImageStore.open(tmp_path / "state")
    held = {f"sha256:{path.name}" for path in (again.layout.path / "blobs/sha256").iterdir()}
    assert {index["digest"], platforms[0]["digest"], config["digest"]} <= held, "the other platform's part stays too"
    assert await again.remove("other:1") == ["untagged other:1", f"deleted {image.id}"]
    assert list((again.layout.path / "blobs/sha256").iterdir()) == []
    await again.aclose()
