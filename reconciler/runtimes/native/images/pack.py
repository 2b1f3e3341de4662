"""Images of the store become an archive that others load (`save`).

A docker-archive has uncompressed layers, whose digests are in the image's config; an oci-archive
has the blobs as they are. Either way each is hashed on its way, so that nothing damaged gets out.
Written by ourselves because skopeo puts one image into an archive, and people save several.
Source: moby image/spec/v1.2.md ("Combined Image JSON + Filesystem Changeset Format"); image-spec image-layout.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from reconciler.errors import TerminalError
from reconciler.runtimes.native.images.catalog import Known
from reconciler.runtimes.native.images.compression import BadStream, decompressed
from reconciler.runtimes.native.images.layout import Layout
from reconciler.runtimes.native.images.spec import REF_NAME, DamagedBlob, Descriptor, render_index

FORMS = ("docker", "oci")
_CHUNK = 1 << 20
_CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image to be saved, and under which of its names (normalized)."""

    known: Known
    names: tuple[str, ...]


def write_archive(images: Sequence[Chosen], layout: Layout, target: Path, form: str) -> None:
    """Write `images` into the file `target`, which appears when all of it is there. Blocks.

    Raises: TerminalError(reason="SaveFailed") when `target` cannot be written, DamagedBlob, HostError.
    """
    if target.exists() and not target.is_file():
        raise TerminalError(f"{target} is no regular file; an archive needs one", reason="SaveFailed")
    try:
        with _appearing(target) as file, tarfile.TarFile(fileobj=file, mode="w") as archive:
            (_write_docker if form == "docker" else _write_oci)(images, layout, archive, file)
    except BadStream as error:
        raise DamagedBlob(f"a layer was damaged on disk ({error}); pull or load the image again") from None
    except OSError as error:
        raise TerminalError(f"{target} cannot be written: {error.strerror}", reason="SaveFailed") from None


@contextmanager
def _appearing(target: Path) -> Iterator[IO[bytes]]:
    """A new file that has the name `target` once it is written, and is gone when that fails."""
    temporary = target.with_name(f".{target.name[:200]}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            yield file
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


def _write_docker(images: Sequence[Chosen], layout: Layout, archive: tarfile.TarFile, file: IO[bytes]) -> None:
    manifest, written = [], set[str]()
    for image in images:
        config, diff_ids = image.known.manifest.config.digest, image.known.config.diff_ids
        layers = [f"{_hex(diff_id)}.tar" for diff_id in diff_ids]
        for blob, diff_id, name in zip(image.known.manifest.layers, diff_ids, layers, strict=True):
            if name not in written:
                written.add(name)
                with _blob(layout, blob) as raw, decompressed(raw) as content:
                    _append(archive, file, name, content, diff_id)
        if config not in written:
            written.add(config)
            _add(archive, f"{_hex(config)}.json", layout.read_document(config))
        # whole names: podman takes "web:1" for localhost/web:1, docker takes it for docker.io/library/web:1
        tags = [name for name in image.names if "@" not in name]
        manifest.append({"Config": f"{_hex(config)}.json", "RepoTags": tags, "Layers": layers})
    _add(archive, "manifest.json", json.dumps(manifest).encode())


def _write_oci(images: Sequence[Chosen], layout: Layout, archive: tarfile.TarFile, file: IO[bytes]) -> None:
    _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    entries, written = list[Descriptor](), set[str]()
    for image in images:
        manifest = image.known.manifest
        for blob in (image.known.chosen, manifest.config, *manifest.layers):
            if blob.digest not in written:
                written.add(blob.digest)
                with _blob(layout, blob) as content:
                    _append(archive, file, f"blobs/sha256/{_hex(blob.digest)}", content, blob.digest)
        entries += _entries(image)
    _add(archive, "index.json", render_index(entries))


def _entries(image: Chosen) -> Iterable[Descriptor]:
    bare = replace(image.known.chosen, annotations={}, platform={})
    tagged = [name for name in image.names if "@" not in name]
    named = [replace(bare, annotations={REF_NAME: name, _CONTAINERD_NAME: name}) for name in tagged]
    return named or [bare]


def _blob(layout: Layout, blob: Descriptor) -> IO[bytes]:
    try:
        return open(layout.blob_path(blob.digest), "rb", buffering=0)
    except FileNotFoundError:
        raise DamagedBlob(f"blob {blob.digest[:19]} is missing from the image store; pull or load it again") from None


def _append(archive: tarfile.TarFile, file: IO[bytes], name: str, content: IO[bytes], digest: str) -> None:
    """Add `content`, whose length is not known before its end, as the file `name`. Raises: DamagedBlob."""
    start = file.tell()
    _add_header(archive, file, name, 0)
    hashed, size = hashlib.sha256(), 0
    while chunk := content.read(_CHUNK):
        hashed.update(chunk)
        size += file.write(chunk)
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise DamagedBlob(f"blob {digest[:19]} was damaged on disk: pull or load the image again")
    file.write(bytes(-size % tarfile.BLOCKSIZE))
    end = file.tell()
    file.seek(start)
    _add_header(archive, file, name, size)
    file.seek(end)
    archive.offset = end


def _add_header(archive: tarfile.TarFile, file: IO[bytes], name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    file.write(member.tobuf(tarfile.GNU_FORMAT))  # one block whatever the size, so that it can be written again


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
