import gzip
import json
import tarfile
from pathlib import Path

import pytest

from reconciler.errors import TerminalError
from reconciler.runtimes.native.images.archives import open_archive
from reconciler.runtimes.native.images.spec import OCI_MANIFEST
from tests.images import docker_archive

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def index(*entries: tuple[str, dict[str, str]]) -> bytes:
    manifests = [{"mediaType": OCI_MANIFEST, "digest": d, "size": 1, "annotations": a} for d, a in entries]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()


def layout(path: Path, content: bytes) -> Path:
    path.mkdir()
    (path / "index.json").write_bytes(content)
    return path


def test_docker_archive_names_are_made_whole(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", [], ["web:1", "registry.example/x/y"])
    names = ("docker.io/library/web:1", "registry.example/x/y:latest")
    (image,) = open_archive(path, tmp_path / "here")
    assert (image.source, image.names) == (f"docker-archive:{tmp_path}/here:@0", names)


def test_compressed_archives_are_read(tmp_path: Path) -> None:
    plain = docker_archive(tmp_path / "a.tar", [])
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert len(open_archive(path, tmp_path / "here")) == 1
    assert (tmp_path / "here").read_bytes() == plain.read_bytes()


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([(A, {})], [("", ())], id="one without a name"),
        pytest.param(
            [(A, {"org.opencontainers.image.ref.name": "docker.io/library/web:1"})],
            [(":docker.io/library/web:1", ("docker.io/library/web:1",))],
            id="whole name",
        ),
        pytest.param([(A, {"org.opencontainers.image.ref.name": "latest"})], [(":latest", ())], id="a tag is no name"),
        pytest.param(
            [(A, {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/library/web:1"})],
            [(":1", ("docker.io/library/web:1",))],
            id="containerd's annotation",
        ),
        pytest.param(
            [(A, {"org.opencontainers.image.ref.name": "web:1"}), (A, {"org.opencontainers.image.ref.name": "web:2"})],
            [(":web:1", ("docker.io/library/web:1", "docker.io/library/web:2"))],
            id="two names of one image",
        ),
        pytest.param([], [], id="empty"),
    ],
)
def test_oci_layouts(
    tmp_path: Path, entries: list[tuple[str, dict[str, str]]], expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    path = layout(tmp_path / "l", index(*entries))
    found = [(image.source, image.names) for image in open_archive(path, tmp_path / "here")]
    assert found == [(f"oci:{tmp_path}/here{suffix}", names) for suffix, names in expected]


def test_what_is_no_image_archive_is_said(tmp_path: Path) -> None:
    root = tmp_path / "root.tar"
    with tarfile.open(root, "w") as archive:
        archive.add(__file__, "etc/passwd")
    text = tmp_path / "text"
    text.write_text("hello")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(gzip.compress(root.read_bytes())[:-20])
    for number, (path, words) in enumerate(
        (
            (tmp_path / "nothing", "does not exist"),
            (tmp_path, "does not exist"),
            (text, "not an image archive"),
            (root, "reconciler import"),
            (layout(tmp_path / "several", index((A, {}), (B, {}))), "not all have a name"),
            (layout(tmp_path / "broken", b"{"), "not JSON"),
            (cut, "gzip data is damaged"),
        )
    ):
        with pytest.raises(TerminalError, match=words) as caught:
            open_archive(path, tmp_path / f"here-{number}")
        assert str(path) in str(caught.value)
