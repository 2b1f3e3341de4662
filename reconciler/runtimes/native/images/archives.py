"""What images a file or directory holds that somebody wants loaded.

skopeo copies one image at a time, and must be told which.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import TerminalError
from reconciler.model.reference import normalize
from reconciler.runtimes.native.images.compression import BadStream, compression_of, decompressed
from reconciler.runtimes.native.images.spec import REF_NAME, Descriptor, InvalidImage, parse_index

_CONTAINERD_NAME = "io.containerd.image.name"  # the whole name, where ref.name has the tag only
_MAX_DOCUMENT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """One image of an archive: `source` in skopeo's syntax, its names normalized (none is possible),
    and its config where that is docker's, which skopeo does not copy whole."""

    source: str
    names: tuple[str, ...]
    docker_config: bytes = b""


def open_archive(path: Path, here: Path) -> tuple[Packed, ...]:
    """The images in a docker-archive or oci-archive file (compressed or not) or an OCI layout directory.
    `here` becomes a link to it or an uncompressed copy: skopeo takes neither colons in names nor
    every compression. Blocks.

    Raises: TerminalError(reason="InvalidImage"), which names `path`, HostError, OSError.
    """
    try:
        if path.is_dir():
            here.symlink_to(path.absolute())
            return _of_oci("oci", here, (path / "index.json").read_bytes())
        with open(path, "rb", buffering=0) as file:
            if compression_of(file):
                with decompressed(file) as content, open(here, "xb") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)
            else:
                here.symlink_to(path.absolute())
        documents = _documents_of_tar(here, {"manifest.json", "index.json"})
        if "manifest.json" in documents:
            return _of_docker(here, documents["manifest.json"])
        if "index.json" in documents:
            return _of_oci("oci-archive", here, documents["index.json"])
    except FileNotFoundError as error:
        raise TerminalError(f"{error.filename} does not exist", reason="InvalidImage") from None
    except PermissionError as error:
        raise TerminalError(f"{error.filename} cannot be read: {error.strerror}", reason="InvalidImage") from None
    except (tarfile.TarError, EOFError, BadStream, InvalidImage) as error:
        raise TerminalError(f"{path} is not an image archive: {error}", reason="InvalidImage") from None
    raise TerminalError(
        f"{path} is not an image archive: neither manifest.json nor index.json is in it "
        "(a root filesystem becomes an image with `reconciler import`)",
        reason="InvalidImage",
    )


def _documents_of_tar(path: Path, wanted: Set[str]) -> Mapping[str, bytes]:
    """Small files of the archive, as far as they are there."""
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in wanted and member.isreg() and member.size <= _MAX_DOCUMENT_BYTES:
                file = archive.extractfile(member)
                assert file is not None
                found[name] = file.read()
    return found


def _of_docker(path: Path, content: bytes) -> tuple[Packed, ...]:
    try:
        images = json.loads(content)
        names = [tuple(normalize(tag) for tag in image.get("RepoTags") or ()) for image in images]
        configs = [str(image.get("Config")) for image in images]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InvalidImage("its manifest.json is not one of docker's") from None
    documents = _documents_of_tar(path, set(configs))
    return tuple(
        Packed(f"docker-archive:{path}:@{index}", names[index], documents.get(config, b""))
        for index, config in enumerate(configs)
    )


def _of_oci(transport: str, path: Path, content: bytes) -> tuple[Packed, ...]:
    entries = parse_index(content)
    packed: dict[str, Packed] = {}
    for entry in entries:
        names = _oci_names(entry)
        ref_name = entry.annotations.get(REF_NAME, "")
        if not ref_name and len(entries) > 1:
            raise InvalidImage("it holds several images, and not all have a name")
        seen = packed.get(entry.digest)
        if seen:
            packed[entry.digest] = Packed(seen.source, seen.names + names)
        else:
            packed[entry.digest] = Packed(f"{transport}:{path}" + (f":{ref_name}" if ref_name else ""), names)
    return tuple(packed.values())


def _oci_names(entry: Descriptor) -> tuple[str, ...]:
    name: Any = entry.annotations.get(_CONTAINERD_NAME) or entry.annotations.get(REF_NAME, "")
    if not any(mark in name for mark in ":/@"):
        return ()  # a tag without a repository is no name
    try:
        return (normalize(name),)
    except ValueError:
        return ()
