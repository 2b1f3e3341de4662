"""Image references: short as people write them, whole as stores and registries need them.

Source: github.com/distribution/reference, `ParseNormalizedNamed` and `FamiliarString`.
"""

from __future__ import annotations

import re
from functools import lru_cache

_HUB = "docker.io"
_HOST = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_HEX_64 = re.compile(r"[a-f0-9]{64}")


@lru_cache(maxsize=4096)
def _split(image: str) -> tuple[str, str, str, str]:
    """Returns: (registry host, repository path, tag or "", digest or ""). Raises: ValueError."""
    if not image:
        raise ValueError("the image is empty: it must be a name such as nginx:1.27")
    if image != image.strip():
        raise ValueError(f"{image!r} is not an image: it begins or ends with white space")
    if _HEX_64.fullmatch(image):
        raise ValueError(f"{image!r} is not an image: 64 hexadecimal digits are an id, and a name is expected")
    rest, at, digest = image.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError(f"{image!r} is not an image: {digest!r} is not a digest such as sha256: and 64 digits")
    if at and digest.startswith("sha256:") and not _HEX_64.fullmatch(digest[7:]):
        raise ValueError(f"{image!r} is not an image: a sha256 digest has 64 lower case hexadecimal digits")
    name, tag = rest, ""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        name, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise ValueError(
                f"{image!r} is not an image: the tag {tag[:130]!r} must have 1 to 128 letters, digits, '_', '.' and '-'"
            )
    first, slash, path = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        host = first
    else:
        host, path = _HUB, name
    if host == "index.docker.io":
        host = _HUB
    if host == _HUB and "/" not in path:
        path = f"library/{path}"
    if not _HOST.fullmatch(host):
        raise ValueError(f"{image!r} is not an image: {host!r} is not a registry's host name")
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        case = path != path.lower()
        raise ValueError(
            f"{image!r} is not an image: "
            + ("its name must be lower case" if case else "its name has lower case letters, digits, and single . _ - /")
        )
    if len(path) > 255:
        raise ValueError(f"{image[:40]!r}... is not an image: its name is longer than 255 characters")
    return host, path, tag, digest


def normalize(image: str) -> str:
    """The whole reference: "nginx" is "docker.io/library/nginx:latest"; a digest is kept, and needs no tag.

    Raises: ValueError, a sentence for people.
    """
    host, path, tag, digest = _split(image)
    tag = tag or ("" if digest else "latest")
    return f"{host}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def familiar(reference: str) -> str:
    """The short form of what `normalize` gave: "nginx:latest" of "docker.io/library/nginx:latest"."""
    return (
        reference.removeprefix(f"{_HUB}/").removeprefix("library/") if reference.startswith(f"{_HUB}/") else reference
    )


def pull_policy(image: str) -> str:
    """The imagePullPolicy of an image whose container declares none."""
    try:
        _, _, tag, digest = _split(image)
    except ValueError:
        return "IfNotPresent"
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"
