"""Images that come as files: what is in them, what others read of our store, and what is bad about them."""

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.runtimes.native.images.spec import InvalidImage
from reconciler.runtimes.native.images.store import ImageStore
from tests.images import BUSYBOX, LayerTar, busybox_archive, busybox_layer, docker_archive

WEB = "docker.io/library/web:1"


async def load(store: ImageStore, archive: Path, **more: str) -> list[str]:
    return [line async for line in store.load(str(archive), **more)]


def convert(archive: Path, target: str) -> None:
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{archive}", target], check=True, timeout=60
    )


async def test_a_docker_archive_becomes_an_image_that_can_be_mounted(store: ImageStore, tmp_path: Path) -> None:
    lines = await load(store, busybox_archive(tmp_path / "a.tar", "web:1", files={"www/index.html": b"hi"}))
    assert lines[-1] == "loaded web:1"
    resolved = await store.resolve(WEB)
    assert store.references() == {WEB: resolved.id}
    assert resolved.config["config"]["Cmd"] == ["sh"]
    bottom, top = resolved.layers
    assert (bottom / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
    assert (bottom / "bin/sh").readlink() == Path("busybox")
    assert (top / "www/index.html").read_text() == "hi"
    (image,) = await store.list()
    assert (image.id, image.references, image.digest) == (resolved.id, (WEB,), resolved.digest)
    assert image.size_bytes > BUSYBOX.stat().st_size


async def test_an_archive_that_skopeo_made(store: ImageStore, tmp_path: Path) -> None:
    convert(busybox_archive(tmp_path / "a.tar", "x:1"), f"docker-archive:{tmp_path / 'b.tar'}:web:1")
    await load(store, tmp_path / "b.tar")
    assert list(store.references()) == [WEB]


@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
@pytest.mark.parametrize(
    ("ref_name", "reference", "names"),
    [
        pytest.param(f":{WEB}", "", [WEB], id="named inside"),
        pytest.param(":1", "web:1", [WEB], id="named by who loads it"),
        pytest.param("", "", [], id="without a name"),
    ],
)
async def test_oci_forms(
    store: ImageStore, tmp_path: Path, transport: str, ref_name: str, reference: str, names: list[str]
) -> None:
    convert(busybox_archive(tmp_path / "a.tar"), f"{transport}:{tmp_path / 'it'}{ref_name}")
    lines = await load(store, tmp_path / "it", reference=reference)
    assert list(store.references()) == names
    (image,) = await store.list()
    assert lines[-1] == f"loaded {'web:1' if names else image.id}"
    assert len((await store.resolve(image.id)).layers) == 1


async def test_a_compressed_archive(store: ImageStore, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(busybox_archive(tmp_path / "a.tar", "web:1").read_bytes(), 1))
    await load(store, packed)
    assert list(store.references()) == [WEB]


async def test_skopeo_reads_the_store(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    shown = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{store.layout.path}:{WEB}"], capture_output=True, check=True
    )
    assert json.loads(shown.stdout)["config"]["Cmd"] == ["sh"]


async def test_what_skopeo_writes_into_the_store_is_there(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    convert(busybox_archive(tmp_path / "b.tar", config={"Cmd": ["other"]}), f"oci:{store.layout.path}:foreign:2")
    assert set(store.references()) == {WEB, "docker.io/library/foreign:2"}
    assert (await store.resolve("docker.io/library/foreign:2")).config["config"]["Cmd"] == ["other"]


async def test_loading_again_changes_nothing(store: ImageStore, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar", "web:1")
    await load(store, archive)
    before = store.layout.stamp()
    await load(store, archive)
    assert store.layout.stamp() == before


async def test_a_name_moves_to_the_newer_image(store: ImageStore, tmp_path: Path) -> None:
    await load(store, busybox_archive(tmp_path / "a.tar", "web:1"))
    old = await store.resolve(WEB)
    await load(store, busybox_archive(tmp_path / "b.tar", "web:1", config={"Cmd": ["new"]}))
    new = await store.resolve(WEB)
    assert new.id != old.id
    assert new.layers == old.layers, "unpacked once, shared"
    assert {image.id: image.references for image in await store.list()} == {new.id: (WEB,), old.id: ()}


async def test_an_image_that_is_not_there(store: ImageStore) -> None:
    with pytest.raises(TransientError, match="image 'web:1' is not in the store") as caught:
        await store.resolve(WEB)
    assert caught.value.reason == "ErrImageNeverPull"


async def test_an_archive_with_the_wrong_content_is_refused_and_leaves_nothing(
    store: ImageStore, tmp_path: Path
) -> None:
    archive = busybox_archive(tmp_path / "a.tar", "web:1")
    damaged = archive.read_bytes().replace(b"root:x:0:0", b"root:x:1:1")
    archive.write_bytes(damaged)
    with pytest.raises(TransientError):
        await load(store, archive)
    assert store.references() == {}
    assert store.layers.chain_ids() == set()


async def test_a_truncated_archive_is_refused(store: ImageStore, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar", "web:1")
    archive.write_bytes(archive.read_bytes()[:1_000_000])
    with pytest.raises((TransientError, TerminalError), match=r"a\.tar"):
        await load(store, archive)
    assert store.references() == {}


async def test_layers_and_config_must_agree(store: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    convert(docker_archive(archive, [busybox_layer()], ["x:1"]), f"oci:{tmp_path / 'layout'}:web:1")
    blobs = tmp_path / "layout/blobs/sha256"
    digest = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"][0]["digest"][7:]
    manifest = json.loads((blobs / digest).read_bytes())
    layer = manifest["layers"][0]["digest"][7:]
    (blobs / layer).write_bytes(gzip.compress(LayerTar().add("evil").content()))
    with pytest.raises(TransientError) as caught:
        await load(store, tmp_path / "layout")
    assert caught.value.reason == "ErrImagePull"
    assert store.references() == {}


async def test_a_damaged_blob_is_noticed_when_it_is_unpacked(store: ImageStore, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar", "web:1")
    await load(store, archive)
    resolved = await store.resolve(WEB)
    manifest = json.loads(store.layout.read_document(resolved.digest))
    blob = store.layout.blob_path(manifest["layers"][0]["digest"])
    content = bytearray(blob.read_bytes())
    content[-2000] ^= 1
    blob.write_bytes(content)
    store.layers.remove(resolved.layers[0].name)
    with pytest.raises(InvalidImage, match="has the digest"):
        await store.resolve(WEB)
    assert store.references() == {}, "a damaged image does not count as there: it is pulled again"
    await load(store, archive)
    assert (await store.resolve(WEB)).layers[0].is_dir()


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zst"])
async def test_a_root_filesystem_becomes_an_image(store: ImageStore, tmp_path: Path, compression: str) -> None:
    plain = tmp_path / "root.tar"
    plain.write_bytes(busybox_layer())
    archive = plain
    if compression:
        archive = tmp_path / f"root.tar.{compression}"
        program = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}[compression]
        archive.write_bytes(subprocess.run([program, "-1", "-c", plain], capture_output=True, check=True).stdout)
    lines = [line async for line in store.import_root(str(archive), "web:1")]
    assert lines[-1] == "loaded web:1"
    resolved = await store.resolve(WEB)
    assert (resolved.layers[0] / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
    assert resolved.config["os"] == "linux"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hello", "cannot be read as a tar file"),
        (b"\x1f\x8bnonsense", "cannot be read as a tar file"),
        (None, "does not exist"),
    ],
)
async def test_what_is_no_root_filesystem(store: ImageStore, tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(TerminalError, match=why):
        async for _ in store.import_root(str(tmp_path / "x"), "web:1"):
            pass
    assert list(store.layout.staging.iterdir()) == []


async def test_names_are_checked(store: ImageStore, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar")
    with pytest.raises(TerminalError, match="lower case") as caught:
        await load(store, archive, reference="registry.example/WEB")
    assert caught.value.reason == "InvalidImageName"


async def test_several_images_in_one_archive(store: ImageStore, tmp_path: Path) -> None:
    layer = busybox_layer()
    one = docker_archive(tmp_path / "1.tar", [layer], ["web:1"])
    two = docker_archive(tmp_path / "2.tar", [layer, LayerTar().add("x").content()], ["api:1", "api:2"])
    files: dict[str, bytes] = {}
    manifests = []
    for prefix, path in (("one", one), ("two", two)):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                files[f"{prefix}/{member.name}"] = file.read()
        (image,) = json.loads(files.pop(f"{prefix}/manifest.json"))
        image["Config"] = f"{prefix}/{image['Config']}"
        image["Layers"] = [f"{prefix}/{name}" for name in image["Layers"]]
        manifests.append(image)
    files["manifest.json"] = json.dumps(manifests).encode()
    both = tmp_path / "both.tar"
    with tarfile.open(both, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    await load(store, both)
    assert set(store.references()) == {WEB, "docker.io/library/api:1", "docker.io/library/api:2"}
    with pytest.raises(TerminalError, match="holds 2 images"):
        await load(store, both, reference="x:1")
