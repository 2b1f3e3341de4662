import json
from typing import Any

import pytest

from reconciler.runtimes.native.images.spec import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    InvalidImage,
    chain_ids,
    choose_platform,
    parse_config,
    parse_index,
    parse_manifest,
    render_index,
)

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def descriptor(digest: str = A, media_type: str = OCI_LAYER, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": 7, **more}


def test_chain_ids_are_those_of_the_specification() -> None:
    # computed with `printf '%s %s' ... | sha256sum`
    assert chain_ids((A, B, C)) == (
        "a" * 64,
        "ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c",
        "c1377126441fb2f5ec2c21ae2a60255331d639e830f0ee1b40a36e52d4c40588",
    )


def test_index_survives_a_round_trip() -> None:
    entries = (Descriptor(OCI_MANIFEST, A, 7, {"k": "v"}, {"os": "linux", "architecture": "arm64"}),)
    assert parse_index(render_index(entries)) == entries


@pytest.mark.parametrize(
    ("digest", "why"),
    [
        pytest.param("sha256:../../../../etc/passwd", "expected sha256", id="a path"),
        pytest.param("sha256:" + "A" * 64, "expected sha256", id="upper case"),
        pytest.param("sha256:" + "a" * 64 + "\n", "expected sha256", id="a newline after it"),
        pytest.param("md5:" + "a" * 32, "expected sha256", id="another algorithm"),
        pytest.param(None, "expected sha256", id="none"),
        pytest.param(7, "expected sha256", id="a number"),
    ],
)
def test_digests_are_checked_before_they_become_paths(digest: Any, why: str) -> None:
    manifest = {"config": descriptor(A, OCI_CONFIG), "layers": [descriptor(digest)]}
    with pytest.raises(InvalidImage, match=why):
        parse_manifest(json.dumps(manifest).encode())
    with pytest.raises(InvalidImage, match=why):
        parse_config(json.dumps({"rootfs": {"diff_ids": [digest]}}).encode())


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"[" * 100_000, "not JSON", id="nested without end"),
        pytest.param(b"[]", "not a JSON object", id="a list"),
        pytest.param(b"{}", "no object", id="no config"),
        pytest.param({"config": descriptor(A, "application/vnd.cncf.helm.config.v1+json")}, "helm", id="a chart"),
        pytest.param(
            {"config": descriptor(A, OCI_CONFIG), "layers": [descriptor(A, "text/html")]}, "text/html", id="layer type"
        ),
        pytest.param({"config": descriptor(A, OCI_CONFIG), "layers": {}}, "no list 'layers'", id="layers no list"),
        pytest.param({"config": descriptor(A, OCI_CONFIG, size=-1)}, "size", id="negative size"),
        pytest.param({"config": descriptor(A, OCI_CONFIG), "layers": [descriptor()] * 501}, "501 layers", id="many"),
    ],
)
def test_bad_manifests_are_refused(manifest: Any, why: str) -> None:
    content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    with pytest.raises(InvalidImage, match=why) as caught:
        parse_manifest(content)
    assert caught.value.reason == "ErrImagePull"


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        pytest.param("2026-01-01T00:00:00Z", 1_767_225_600.0, id="zulu"),
        pytest.param("2026-01-01T01:00:00.123456789+01:00", 1_767_225_600.123456, id="nanoseconds and a zone"),
        pytest.param("0001-01-01T00:00:00Z", -62_135_596_800.0, id="go's zero"),
        pytest.param("yesterday", 0.0, id="nonsense"),
        pytest.param(None, 0.0, id="none"),
    ],
)
def test_creation_times(created: Any, seconds: float) -> None:
    assert parse_config(json.dumps({"created": created, "rootfs": {}}).encode()).created_at == seconds


def test_this_machines_platform_is_chosen() -> None:
    arm, amd = (
        Descriptor(OCI_MANIFEST, digest, 1, platform={"os": "linux", "architecture": name})
        for digest, name in ((A, "arm64"), (B, "amd64"))
    )
    assert choose_platform([arm, amd], "amd64") == amd
    with pytest.raises(InvalidImage, match="no linux/riscv64, only linux/amd64, linux/arm64"):
        choose_platform([arm, amd], "riscv64")
