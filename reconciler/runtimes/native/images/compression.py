"""Files that somebody may have compressed, by what their first bytes say."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import subprocess
import zlib
from collections.abc import Iterator
from typing import IO, cast

from reconciler.errors import HostError

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class BadStream(Exception):
    """The compressed data is damaged. One line."""


def compression_of(file: IO[bytes]) -> str:
    """gzip, bzip2, xz, zstd, or "" for none of them. `file` is at its start, and stays there."""
    start = file.read(6)
    file.seek(0)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


@contextlib.contextmanager
def decompressed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of `file`, which is opened unbuffered, to be read to the end.

    Raises: BadStream (while reading, or at the end of the block), HostError.
    """
    kind = compression_of(file)
    try:
        match kind:
            case "gzip":
                with gzip.GzipFile(fileobj=file) as unzipped:
                    yield cast(IO[bytes], unzipped)
            case "bzip2":
                with bz2.BZ2File(file) as unpacked:
                    yield unpacked
            case "xz":
                with lzma.LZMAFile(file) as stream:
                    yield stream
            case "zstd":
                with _zstd(file) as program:
                    assert program.stdout is not None
                    yield program.stdout
                if program.returncode != 0:
                    raise BadStream("its zstd data is damaged")
            case _:
                yield file
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; gzip and bz2 use the class for their own errors too
        raise BadStream(f"its {kind} data is damaged: {error}") from None


def _zstd(file: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(["zstd", "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise HostError("zstd is not installed; on Debian: apt install zstd") from None
