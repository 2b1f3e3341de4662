"""A root filesystem archive becomes an image of one layer (`import`)."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from reconciler.errors import TerminalError
from reconciler.runtimes.native.images.compression import BadStream, decompressed
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
        with open(archive, "rb", buffering=0) as file:
            digest, size = _store_layer(file, layout, staging)
    except FileNotFoundError:
        raise TerminalError(f"{archive} does not exist", reason="InvalidImage") from None
    except IsADirectoryError:
        raise TerminalError(f"{archive} is a directory; a tar file is expected", reason="InvalidImage") from None
    except (TarError, BadStream) as error:
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
    with decompressed(file) as stream, open(temporary, "xb") as blob:
        chunk = stream.read(_CHUNK)
        next(iter(TarStream(io.BytesIO(chunk[:BLOCK]))), None)  # the rest is looked at when it is unpacked
        while chunk:
            digest.update(chunk)
            size += blob.write(chunk)
            chunk = stream.read(_CHUNK)
    name = f"sha256:{digest.hexdigest()}"
    temporary.rename(layout.blob_path(name))
    return name, size


def _store_document(value: object, media_type: str, layout: Layout) -> Descriptor:
    content = json.dumps(value).encode()
    return Descriptor(media_type, layout.write_document(content), len(content))
