"""Fingerprints of what runs, and names derived from them.

A hash is pinned: the same config must give the same hash in every later version, or an
upgrade would restart everything. So it leaves out fields that have their default (a new field
changes nothing), it carries a version, and golden files in the tests hold it fast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, Files, SandboxConfig

# Kubernetes' alphabet for generated names: no vowels, so no words; no 0 1 3, which look like letters.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MAX_NAME = 63


def container_hash(config: ContainerConfig) -> str:
    """Everything of a container, with the content of the files it mounts (`files_hash`)."""
    return _versioned(config)


def sandbox_hash(config: SandboxConfig, init_hashes: Sequence[str] = ()) -> str:
    """Everything of a sandbox but the content of its Files volumes, which are updated in place.

    The hashes of the init containers belong to it: they prepare a sandbox once, and others need another one."""
    bare = tuple(replace(v, files=()) if isinstance(v, Files) else v for v in config.volumes)
    own = _versioned(replace(config, volumes=bare))
    return f"v1:{_digest([own, *init_hashes])[:24]}" if init_hashes else own


def volume_hash(volume: Files) -> str:
    """The content of one Files volume."""
    return _versioned(volume)


def files_hash(volumes: Iterable[Files]) -> str:
    """The content of several Files volumes; "" for none."""
    hashes = [volume_hash(volume) for volume in volumes]
    return _digest(hashes)[:16] if hashes else ""


def template_hash(template: Any) -> str:
    """Ten characters for a pod template given as plain data without defaults."""
    return _letters(_digest(template), 10)


def generated_name(base: str, key: str) -> str:
    """`base-xxxxx`, where the suffix follows from `base` and `key`; at most 63 characters."""
    suffix = _letters(_digest([base, key]), 5)
    return f"{base[: _MAX_NAME - 6]}-{suffix}"


def sandbox_id(pod: Ref, attempt: int) -> str:
    """32 hex characters, the same for the same pod and attempt."""
    return _digest(["sandbox", *pod, attempt])[:32]


def container_id(sandbox: str, name: str, attempt: int) -> str:
    """32 hex characters, the same for the same container and attempt in a sandbox."""
    return _digest(["container", sandbox, name, attempt])[:32]


def _versioned(config: object) -> str:
    return f"v1:{_digest(_plain(config))[:24]}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _letters(hex_digest: str, count: int) -> str:
    number = int(hex_digest, 16)
    letters = []
    for _ in range(count):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def _plain(value: object) -> Any:
    """Data that prints as JSON, with the type's name where unions need it and defaults left out."""
    if is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {"": type(value).__name__}
        for f in fields(value):
            item = getattr(value, f.name)
            if f.default is MISSING or item != f.default:
                out[f.name] = _plain(item)
        return out
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
