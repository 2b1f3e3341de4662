"""A layer's blob as a stream of uncompressed bytes, hashed on the way.

Reading, hashing and decompressing run in a thread ahead of whoever unpacks: zlib and hashlib
let go of the interpreter's lock, so the two share two cores. Standard library only, for untar.py.
"""

from __future__ import annotations

import hashlib
import queue
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from reconciler.runtimes.native.images.tarstream import TarError

_CHUNK = 1 << 20
_MAX_WINDOW_BYTES = 128 << 20  # of zstd; its own default for decompression


class DigestMismatch(Exception):
    """The content is not what its name says."""


class Spool:
    """The uncompressed bytes of a blob, read, hashed and decompressed in a thread ahead of the reader."""

    def __init__(self, blob: BinaryIO, digest: str, diff_id: str) -> None:
        self._blob, self._digest, self._diff_id = blob, digest, diff_id
        self._raw_hash, self._tar_hash = hashlib.sha256(), hashlib.sha256()
        self._chunks: queue.Queue[bytes | Exception | None] = queue.Queue(maxsize=8)
        self._current, self._at, self._ended = b"", 0, False
        start = blob.read(4)
        blob.seek(0)
        if start[:2] == b"\x1f\x8b":
            self._decompress: Callable[[], Iterator[bytes]] = self._gzip
        elif start == b"\x28\xb5\x2f\xfd":
            self._zstd_program = subprocess.Popen(
                ["zstd", "-dcq", f"--memory={_MAX_WINDOW_BYTES}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._decompress = self._zstd
        else:
            self._decompress = self._raw
        threading.Thread(target=self._fill, daemon=True).start()

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        end = self._at + size
        if end <= len(self._current):
            data = self._current[self._at : end]
            self._at = end
            return data
        parts = [self._current[self._at :]]
        missing = size - len(parts[0])
        while missing and self._advance():
            parts.append(self._current[:missing])
            self._at = len(parts[-1])
            missing -= self._at
        return b"".join(parts)

    def read1(self, size: int) -> bytes:
        """What is at hand of the next `size` bytes; empty only at the end."""
        if self._at == len(self._current) and not self._advance():
            return b""
        data = self._current[self._at : self._at + size]
        self._at += len(data)
        return data

    def finish(self) -> None:
        """Read what is left and compare both digests. Raises: DigestMismatch, TarError."""
        while self._advance():
            pass
        for what, expected, got in (
            ("blob", self._digest, self._raw_hash),
            ("content", self._diff_id, self._raw_hash if self._decompress == self._raw else self._tar_hash),
        ):
            if expected != f"sha256:{got.hexdigest()}":
                raise DigestMismatch(f"the layer's {what} has the digest sha256:{got.hexdigest()}, not {expected}")

    def _advance(self) -> bool:
        if self._ended:
            return False
        chunk = self._chunks.get()
        if isinstance(chunk, Exception):
            raise chunk
        self._ended = chunk is None
        self._current, self._at = chunk or b"", 0
        return not self._ended

    def _fill(self) -> None:
        try:
            for chunk in self._decompress():
                self._chunks.put(chunk)
            self._chunks.put(None)
        except Exception as error:  # handed to the reader
            self._chunks.put(error)

    def _raw(self) -> Iterator[bytes]:
        while chunk := self._blob.read(_CHUNK):
            self._raw_hash.update(chunk)
            yield chunk

    def _gzip(self) -> Iterator[bytes]:
        inflate = zlib.decompressobj(wbits=31)
        try:
            for chunk in self._raw():
                rest = chunk
                while rest:
                    if inflate.eof:  # members follow one another
                        if not rest.strip(b"\0"):
                            break
                        inflate = zlib.decompressobj(wbits=31)
                    if data := inflate.decompress(rest, _CHUNK):
                        self._tar_hash.update(data)
                        yield data
                    rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        except zlib.error as error:
            raise TarError(f"the layer's gzip stream is damaged: {error}") from None
        if not inflate.eof:
            raise TarError("the layer's gzip stream ends too early")

    def _zstd(self) -> Iterator[bytes]:
        program = self._zstd_program
        assert program.stdin and program.stdout
        feeder = threading.Thread(target=self._feed, args=(program.stdin,), daemon=True)
        feeder.start()
        while data := program.stdout.read(_CHUNK):
            self._tar_hash.update(data)
            yield data
        feeder.join()
        if program.wait() != 0:
            raise TarError("the layer's zstd stream is damaged")

    def _feed(self, pipe: BinaryIO) -> None:
        try:
            with pipe:
                for chunk in self._raw():
                    pipe.write(chunk)
        except BrokenPipeError:
            pass  # zstd gave up: its exit code says so
