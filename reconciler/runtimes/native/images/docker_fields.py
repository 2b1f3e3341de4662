"""HEALTHCHECK, ONBUILD and SHELL: what Docker's image config says and OCI's has no word for. Pure.

An OCI config may carry more than it must, and BuildKit leaves Docker's fields in it; containers/image drops
them on the way into an OCI layout. So we put them back, and hand an image that has them to buildah as what
it is, a Docker image: only as such does it read them.
Source: github.com/moby/docker-image-spec, DockerOCIImageConfigExt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.runtimes.native.images.spec import Manifest, parse_config

_FIELDS = ("Healthcheck", "OnBuild", "Shell")
_EPOCH = "1970-01-01T00:00:00Z"
_DOCKER = "application/vnd.docker."


def has_docker_fields(config: Mapping[str, Any]) -> bool:
    """Whether an image config says more than OCI knows."""
    inner = config.get("config")
    return isinstance(inner, Mapping) and any(inner.get(field) for field in _FIELDS)


def with_docker_fields(oci: bytes, docker: bytes) -> bytes:
    """The config `oci` with those fields of `docker`, both of one image; `oci` itself when there are none.

    Raises: InvalidImage when `docker` is no config.
    """
    said = parse_config(docker).value
    if not has_docker_fields(said):
        return oci
    value = json.loads(oci)
    more = {field: said["config"][field] for field in _FIELDS if said["config"].get(field)}
    value["config"] = {**(value.get("config") or {}), **more}
    return json.dumps(value, separators=(",", ":")).encode()


def with_history(config: Mapping[str, Any], layers: int) -> Mapping[str, Any]:
    """The config with an entry of history for each of its `layers`: OCI lets it be left out, buildah stops without."""
    history = config.get("history") or []
    told = sum(not entry.get("empty_layer") for entry in history if isinstance(entry, dict))
    if told == layers:
        return config
    # without a time buildah would find nothing of it in its cache
    entry = {"created": config.get("created") or _EPOCH, "created_by": "unknown"}
    return {**config, "history": [entry] * layers}


def render_docker_manifest(manifest: Manifest) -> bytes | None:
    """The manifest in Docker's words (schema 2); None where it has none: for layers in zstd."""
    if any(layer.media_type.endswith("zstd") for layer in manifest.layers):
        return None
    gzip = [layer.media_type.endswith("gzip") for layer in manifest.layers]
    value = {
        "schemaVersion": 2,
        "mediaType": f"{_DOCKER}distribution.manifest.v2+json",
        "config": {
            "mediaType": f"{_DOCKER}container.image.v1+json",
            "digest": manifest.config.digest,
            "size": manifest.config.size_bytes,
        },
        "layers": [
            {
                "mediaType": f"{_DOCKER}image.rootfs.diff.tar{'.gzip' if packed else ''}",
                "digest": layer.digest,
                "size": layer.size_bytes,
            }
            for layer, packed in zip(manifest.layers, gzip, strict=True)
        ],
    }
    return json.dumps(value).encode()
