"""What the OCI image format says, read from untrusted bytes.

Manifests, configs and index entries come from registries and archives: nothing of them
is used (least of all as a path) before it went through here.
Source: github.com/opencontainers/image-spec v1.1, manifest.md, config.md, image-index.md, layer.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.errors import TransientError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
ORIGIN = "io.reconciler.image.origin"  # the digest that the name stood for in its registry; ours may differ

_INDEX_TYPES = {OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
_MANIFEST_TYPES = {OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"}
_CONFIG_TYPES = {OCI_CONFIG, "application/vnd.docker.container.image.v1+json"}
_LAYER_TYPES = re.compile(
    r"application/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?"
    r"|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?)"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_LAYERS = 500  # overlayfs takes no more


class InvalidImage(TransientError):
    """The image itself is broken. A pull or load of another one under this name may mend it."""

    reason = "ErrImagePull"


class DamagedBlob(InvalidImage):
    """A blob is missing or is not what its digest says; it is removed, so that a pull fetches it again."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to a blob. `digest` is `sha256:` and 64 hex digits, checked."""

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        return self.media_type in _INDEX_TYPES

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        if self.platform:
            value["platform"] = dict(self.platform)
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform. `layers` are bottom first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """The image config: `value` is the JSON, `diff_ids` are digests of the uncompressed layers, bottom first."""

    value: Mapping[str, Any]
    diff_ids: tuple[str, ...]
    created_at: float
    platform: str


def is_index(content: bytes) -> bool:
    """Whether a manifest is one of several platforms; its media type may be left out. Raises: InvalidImage."""
    return "manifests" in _mapping(content, "manifest")


def parse_index(content: bytes) -> tuple[Descriptor, ...]:
    """The entries of an `index.json` or of an image index. Raises: InvalidImage."""
    manifests = _mapping(content, "index").get("manifests")
    return tuple(_descriptor(m, "index") for m in _list(manifests, "index", "manifests"))


def render_index(entries: Iterable[Descriptor]) -> bytes:
    """The text of an `index.json`."""
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [e.to_json() for e in entries]}
    return json.dumps(value, indent=1).encode()


def parse_manifest(content: bytes) -> Manifest:
    """Raises: InvalidImage, also for what is no container image (a chart, a signature)."""
    value = _mapping(content, "manifest")
    config = _descriptor(value.get("config"), "manifest")
    if config.media_type not in _CONFIG_TYPES:
        raise InvalidImage(f"not a container image: its config has the type {config.media_type!r}")
    layers = tuple(_descriptor(item, "manifest") for item in _list(value.get("layers"), "manifest", "layers"))
    for layer in layers:
        if not _LAYER_TYPES.fullmatch(layer.media_type):
            raise InvalidImage(f"layer {layer.digest[:19]} has the type {layer.media_type!r}, which is not known")
    if len(layers) > _MAX_LAYERS:
        raise InvalidImage(f"the image has {len(layers)} layers; at most {_MAX_LAYERS} can be mounted")
    return Manifest(config, layers)


def parse_config(content: bytes) -> Config:
    """Raises: InvalidImage."""
    value = _mapping(content, "config")
    rootfs = value.get("rootfs")
    if not isinstance(rootfs, dict):
        raise InvalidImage("the image config has no rootfs")
    diff_ids = tuple(_digest(item, "config") for item in _list(rootfs.get("diff_ids"), "config", "rootfs.diff_ids"))
    platform = f"{value.get('os') or 'linux'}/{value.get('architecture') or 'amd64'}"
    if value.get("variant"):
        platform += f"/{value['variant']}"
    return Config(value, diff_ids, _epoch(value.get("created")), platform)


def parse_platform(text: str) -> tuple[str, str, str]:
    """Read "os/architecture[/variant]", or an architecture alone (of Linux), in Go's names. Raises: ValueError."""
    parts = text.lower().split("/")
    if len(parts) == 1:
        parts = ["linux", *parts]
    if len(parts) > 3 or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        raise ValueError(f"{text[:60]!r} is not a platform: expected one such as linux/amd64 or linux/arm/v7")
    os, architecture, variant = (*parts, "")[:3]
    return os, {"x86_64": "amd64", "aarch64": "arm64"}.get(architecture, architecture), variant


def choose_platform(
    entries: Sequence[Descriptor], architecture: str, *, os: str = "linux", variant: str = ""
) -> Descriptor:
    """The entry of an image index for a platform (in Go's names); without a variant the first will do.
    Raises: InvalidImage."""
    for entry in entries:
        if (
            entry.platform.get("os") == os
            and entry.platform.get("architecture") == architecture
            and variant in ("", entry.platform.get("variant"))
        ):
            return entry
    known = ({**entry.platform} for entry in entries if entry.platform.get("os") != "unknown")
    offered = sorted({"/".join(filter(None, map(p.get, ("os", "architecture", "variant")))) for p in known})
    wanted = "/".join(filter(None, (os, architecture, variant)))
    raise InvalidImage(f"the image has no {wanted}, only {', '.join(filter(None, offered)) or 'nothing'}")


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """The identity of each layer together with all below it, as hex without `sha256:` (it becomes
    a directory name, and overlayfs splits its options at colons). Source: image-spec config.md, ChainID."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            chain.append(hashlib.sha256(f"sha256:{chain[-1]} {diff_id}".encode()).hexdigest())
        else:
            chain.append(diff_id.removeprefix("sha256:"))
    return tuple(chain)


def _mapping(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidImage(f"the image's {what} is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidImage(f"the image's {what} is not a JSON object")
    return value


def _list(value: object, what: str, field_name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidImage(f"the image's {what} has no list {field_name!r}")
    return value


def _digest(value: object, what: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise InvalidImage(f"the image's {what} has the digest {str(value)[:80]!r}; expected sha256 and 64 hex digits")
    return value


def _descriptor(value: object, what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidImage(f"the image's {what} has an entry that is no object")
    size = value.get("size")
    if not isinstance(size, int) or size < 0:
        raise InvalidImage(f"the image's {what} has an entry without a size")
    return Descriptor(
        media_type=str(value.get("mediaType", "")),
        digest=_digest(value.get("digest"), what),
        size_bytes=size,
        annotations=_strings(value.get("annotations")),
        platform=_strings(value.get("platform")),
    )


def _strings(value: object) -> Mapping[str, str]:
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def _epoch(value: object) -> float:
    """Seconds since the epoch; 0 where the image does not say."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(value))).timestamp()
    except (ValueError, OverflowError):
        return 0.0
