import json

import pytest

from reconciler.runtimes.native.images.docker_fields import (
    has_docker_fields,
    render_docker_manifest,
    with_docker_fields,
    with_history,
)
from reconciler.runtimes.native.images.spec import Descriptor, InvalidImage, Manifest

ROOT = {"rootfs": {"diff_ids": []}}
HEX = "a" * 64
CHECK = {"Test": ["CMD", "true"]}


def manifest(*layers: str) -> Manifest:
    return Manifest(
        Descriptor("application/vnd.oci.image.config.v1+json", f"sha256:{HEX}", 3),
        tuple(Descriptor(f"application/vnd.oci.image.layer.v1.{kind}", f"sha256:{HEX}", 5) for kind in layers),
    )


def test_what_oci_has_no_word_for_is_put_back() -> None:
    oci = json.dumps({"config": {"Cmd": ["sh"]}, "os": "linux"}).encode()
    docker = json.dumps(
        {"config": {"Cmd": ["no"], "Healthcheck": CHECK, "OnBuild": ["RUN x"], "Shell": []}, **ROOT}
    ).encode()
    whole = json.loads(with_docker_fields(oci, docker))
    assert whole == {"config": {"Cmd": ["sh"], "Healthcheck": CHECK, "OnBuild": ["RUN x"]}, "os": "linux"}
    assert has_docker_fields(whole)


def test_a_config_without_them_stays_byte_for_byte() -> None:
    oci = b'{ "config" : null }'
    assert with_docker_fields(oci, json.dumps({"config": {"OnBuild": []}, **ROOT}).encode()) is oci
    for broken in (b"", b"[]", b"{}", b"[" * 9999):
        with pytest.raises(InvalidImage):
            with_docker_fields(oci, broken)
    assert not has_docker_fields({"config": None})
    assert not has_docker_fields({})


def test_a_manifest_in_docker_words() -> None:
    value = json.loads(render_docker_manifest(manifest("tar", "tar+gzip")) or b"")
    assert value["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert value["config"] == {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "digest": f"sha256:{HEX}",
        "size": 3,
    }
    assert [layer["mediaType"] for layer in value["layers"]] == [
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ]
    assert render_docker_manifest(manifest("tar+zstd")) is None, "Docker has no word for zstd"


def test_history_is_made_whole() -> None:
    whole = {"history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}]}
    assert with_history(whole, 1) is whole
    unknown = {"created": "1970-01-01T00:00:00Z", "created_by": "unknown"}
    assert with_history({"os": "linux"}, 2) == {"os": "linux", "history": [unknown] * 2}
    assert with_history(whole, 2)["history"] == [unknown] * 2
    assert with_history({"created": "2026-01-01T00:00:00Z"}, 1)["history"][0]["created"] == "2026-01-01T00:00:00Z"
    assert with_history({"history": None}, 0) == {"history": None}
