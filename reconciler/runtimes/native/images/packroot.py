"""A root filesystem archive becomes an image of one layer (`import`)."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from reconciler.errors import HostError, TerminalError
from reconciler.runtimes.native.images.layout import Layout
from reconciler.runtimes.native.images.spec import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, render_index
from reconciler.runtimes.native.images.staging import Staging
from reconciler.runtimes.native.images.tarstream import BLOCK, TarError, TarStream

_CHUNK = 1 << 20


def pack_root(archive: Path, layout: Layout, staging: Staging, *, architecture: str, now: float) -> None:
    """Store the tar file `archive` (plain, gzip, bzip2, xz or zstd) as the uncompressed layer of a new
    image, which `staging.path / "index.json"` then names. `now` becomes its creation time. Blocks.

    Raises: TerminalError(reason="InvalidImage"), HostError, OSError.
    """
    try:
        with open(archive, "rb") as file:
            digest, size = _store_layer(file, layout, staging)
    except FileNotFoundError:
        raise TerminalError(f"{archive} does not exist", reason="InvalidImage") from None
    except IsADirectoryError:
        raise TerminalError(f"{archive} is a directory; a tar file is expected", reason="InvalidImage") from None
    except (TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise TerminalError(f"{archive} cannot be read as a tar file: {error}", reason="InvalidImage") from None
    created = datetime.fromtimestamp(now, UTC).isoformat()
    config = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [{"created": created, "created_by": f"import {archive.name}"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _store_document(config, OCI_CONFIG, layout).to_json(),
        "layers": [Descriptor(OCI_LAYER, digest, size).to_json()],
    }
    entry = _store_document(manifest, OCI_MANIFEST, layout)
    (staging.path / "index.json").write_bytes(render_index((entry,)))


def _store_layer(file: IO[bytes], layout: Layout, staging: Staging) -> tuple[str, int]:
    """Returns: the digest and size of the uncompressed archive, which is now a blob."""
    digest, size, temporary = hashlib.sha256(), 0, staging.path / "layer"
    with _opened(file) as stream, open(temporary, "xb") as blob:
        chunk = stream.read(_CHUNK)
        next(iter(TarStream(io.BytesIO(chunk[:BLOCK]))), None)  # the rest is looked at when it is unpacked
        while chunk:
            digest.update(chunk)
            size += blob.write(chunk)
            chunk = stream.read(_CHUNK)
    name = f"sha256:{digest.hexdigest()}"
    temporary.rename(layout.blob_path(name))
    return name, size


def _opened(file: IO[bytes]) -> IO[bytes]:
    """The uncompressed bytes of `file`, whatever compressed them."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file)
    return _open_zstd(file) if start.startswith(b"\x28\xb5\x2f\xfd") else file


def _open_zstd(file: IO[bytes]) -> IO[bytes]:
    try:
        program = subprocess.Popen(["zstd", "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise HostError("zstd is not installed; on Debian: apt install zstd") from None
    assert program.stdout is not None
    return program.stdout


def _store_document(value: object, media_type: str, layout: Layout) -> Descriptor:
    content = json.dumps(value).encode()
    return Descriptor(media_type, layout.write_document(content), len(content))
