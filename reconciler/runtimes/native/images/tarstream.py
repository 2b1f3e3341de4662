"""Tar headers from a stream of bytes that nobody vouches for.

The standard library's tarfile reads extension headers of any length into memory and costs
several times more per entry; both matter for layers. This reads ustar, pax and GNU
(long names, sparse files of every version, base-256 numbers), bounded in memory.
Source: POSIX.1-2008 pax; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

BLOCK = 512
_MAX_EXTENSION_BYTES = 1 << 20  # of one pax or long-name header; Go's reader stops there too
_MAX_SPARSE_SEGMENTS = 1 << 20
_ZERO_BLOCK = bytes(BLOCK)

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = (b"0", b"1", b"2", b"3", b"4", b"5", b"6")
_REGULAR = {b"0", b"\0", b"7"}
_KNOWN = {FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO}


class TarError(Exception):
    """The archive is damaged, or not a tar archive. One line."""


@dataclass(slots=True)
class Entry:
    """One member. `stored_bytes` follow in the stream; of a sparse file they are the `segments`
    (offset, length) one after the other, in a file of `size_bytes`."""

    kind: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size_bytes: int
    stored_bytes: int
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    segments: list[tuple[int, int]] | None = None


class Source(Protocol):
    """A stream of bytes, as `io.BufferedIOBase` has it."""

    def read(self, size: int, /) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        ...

    def read1(self, size: int, /) -> bytes:
        """What is at hand, at least one byte and at most `size`; empty only at the end."""
        ...


class TarStream:
    """Iterate entries; after each, the caller takes all `stored_bytes` of it with `read`, or none."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0  # of the current entry's data
        self._padding = 0

    def read(self, limit: int) -> bytes:
        """The next part of the current entry's data, at most `limit` bytes; empty at its end."""
        if self._left == 0:
            return b""
        data = self._source.read1(min(limit, self._left))
        if not data:
            raise TarError("the archive ends in the middle of a file")
        self._left -= len(data)
        return data

    def __iter__(self) -> Iterator[Entry]:
        defaults: dict[bytes, bytes] = {}
        pax: dict[bytes, bytes] = {}
        long_name = long_link = b""
        while (header := self._next_header()) is not None:
            kind = header[156:157]
            size = _number(header[124:136])
            if kind in b"xgLKX":
                content = self._extension(size)
                if kind == b"g":
                    defaults |= _pax_records(content)
                elif kind in b"xX":
                    pax |= _pax_records(content)
                elif kind == b"L":
                    long_name = content.rstrip(b"\0")
                else:
                    long_link = content.rstrip(b"\0")
                continue
            yield self._entry(header, kind, size, defaults | pax if defaults else pax, long_name, long_link)
            pax, long_name, long_link = {}, b"", b""

    def _next_header(self) -> bytes | None:
        while self._left:  # data that the caller did not want
            self.read(1 << 20)
        if self._padding:
            self._source.read(self._padding)
            self._padding = 0
        header = self._source.read(BLOCK)
        if header == _ZERO_BLOCK or not header:
            return None  # one block of zeros is enough, and so is a clean end: both are found in the wild
        if len(header) != BLOCK:
            raise TarError("the archive ends in the middle of a header")
        checksum = sum(header) - sum(header[148:156]) + 256
        if checksum != _number(header[148:156]):
            raise TarError("not a tar archive, or a damaged one: a header has a wrong checksum")
        return header

    def _extension(self, size: int) -> bytes:
        if size > _MAX_EXTENSION_BYTES:
            raise TarError(f"an extension header is longer than {_MAX_EXTENSION_BYTES >> 10} KiB")
        self._padding = -size % BLOCK
        content = self._source.read(size)
        if len(content) != size:
            raise TarError("the archive ends in the middle of a header")
        return content

    def _entry(
        self, header: bytes, kind: bytes, size: int, pax: dict[bytes, bytes], long_name: bytes, long_link: bytes
    ) -> Entry:
        name = long_name or _text(header[:100])
        if not long_name and header[257:263] == b"ustar\0" and header[345]:
            name = _text(header[345:500]) + b"/" + name
        entry = Entry(
            kind=FILE if kind in _REGULAR else kind,
            name=name,
            link=long_link or _text(header[157:257]),
            mode=_number(header[100:108]) & 0o7777,
            uid=_number(header[108:116]),
            gid=_number(header[116:124]),
            mtime_ns=_number(header[136:148], signed=True) * 1_000_000_000,
            size_bytes=size,
            stored_bytes=size,
        )
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = _number(header[329:337]), _number(header[337:345])
        if pax:
            _apply_pax(entry, pax)
        if entry.kind == FILE and entry.name.endswith(b"/"):
            entry.kind = DIRECTORY  # as archives older than ustar have it
        if kind == b"S":
            self._old_sparse(entry, header)
        elif entry.kind != FILE:
            if entry.kind not in _KNOWN:
                raise TarError(f"{_shown(entry.name)}: entries of type {kind!r} are not known")
            entry.size_bytes = entry.stored_bytes = 0
        self._left = entry.stored_bytes
        self._padding = -entry.stored_bytes % BLOCK
        if pax and entry.kind == FILE:
            self._pax_sparse(entry, pax)
        return entry

    def _old_sparse(self, entry: Entry, header: bytes) -> None:
        """GNU's first format: four segments in the header, more in the blocks after it."""
        entry.kind, entry.size_bytes = FILE, _number(header[483:495])
        entry.segments = _segments(header[386:482])
        more = header[482]
        while more:
            block = self._source.read(BLOCK)
            if len(block) != BLOCK or len(entry.segments) > _MAX_SPARSE_SEGMENTS:
                raise TarError(f"{_shown(entry.name)}: its map of a sparse file is damaged")
            entry.segments += _segments(block[:504])
            more = block[504]
        _check_segments(entry)

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes]) -> None:
        """GNU's pax formats: 0.0 and 0.1 have the map in the header, 1.0 before the data."""
        if pax.get(b"GNU.sparse.major") == b"1":
            entry.segments = self._map_before_data(entry)
        elif b"GNU.sparse.map" in pax:
            numbers = [_decimal(n) for n in pax[b"GNU.sparse.map"].split(b",") if n]
            entry.segments = list(zip(numbers[::2], numbers[1::2], strict=False))
        else:
            return
        entry.name = pax.get(b"GNU.sparse.name", entry.name)
        entry.size_bytes = _decimal(pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"0")
        _check_segments(entry)

    def _map_before_data(self, entry: Entry) -> list[tuple[int, int]]:
        text, newlines, wanted = bytearray(), 0, 1
        while newlines < wanted:
            block = self._source.read(min(BLOCK, self._left))
            self._left -= len(block)
            text += block
            newlines += block.count(b"\n")
            if wanted == 1 and newlines:
                wanted += 2 * _decimal(bytes(text[: text.index(b"\n")]))
            if not block or wanted > 2 * _MAX_SPARSE_SEGMENTS or (not newlines and len(text) > BLOCK):
                raise TarError(f"{_shown(entry.name)}: its map of a sparse file is damaged")
        numbers = [_decimal(line) for line in bytes(text).split(b"\n")[1:wanted]]
        entry.stored_bytes = self._left
        return list(zip(numbers[::2], numbers[1::2], strict=True))


def _apply_pax(entry: Entry, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        match key:
            case b"path":
                entry.name = value
            case b"linkpath":
                entry.link = value
            case b"uid":
                entry.uid = _decimal(value)
            case b"gid":
                entry.gid = _decimal(value)
            case b"size":
                entry.size_bytes = entry.stored_bytes = _decimal(value)
            case b"mtime":
                entry.mtime_ns = _nanoseconds(value)
            case _ if key.startswith(b"SCHILY.xattr."):
                entry.xattrs[key[13:]] = value


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """`<length> <key>=<value>\\n`, where length counts the whole record."""
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position = 0
    while position < len(content) and content[position] != 0:
        space = content.find(b" ", position, position + 20)
        length = _decimal(content[position:space]) if space > 0 else 0
        record = content[space + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if length <= 0 or not equals or not record.endswith(b"\n"):
            raise TarError("the archive has a damaged pax header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value[:-1])  # format 0.0 repeats these two
        else:
            records[key] = value[:-1]
        position += length
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def _segments(table: bytes) -> list[tuple[int, int]]:
    return [
        (_number(table[at : at + 12]), _number(table[at + 12 : at + 24]))
        for at in range(0, len(table), 24)
        if table[at]
    ]


def _check_segments(entry: Entry) -> None:
    end = 0
    for offset, length in entry.segments or ():
        if offset < end:
            raise TarError(f"{_shown(entry.name)}: its map of a sparse file is damaged")
        end = offset + length
    if end > entry.size_bytes or sum(length for _, length in entry.segments or ()) != entry.stored_bytes:
        raise TarError(f"{_shown(entry.name)}: its map of a sparse file is damaged")


def _number(raw: bytes, *, signed: bool = False) -> int:
    """Octal, or base 256 when the first bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ((1 << (8 * len(raw) - 1)) - 1)
        if raw[0] & 0x40:
            value -= 1 << (8 * len(raw) - 1)
    else:
        try:
            value = int(raw.strip(b"\0 ") or b"0", 8)
        except ValueError:
            value = _odd_octal(raw)
    if value < 0 and not signed:
        raise TarError("the archive has a damaged header: a negative number")
    return value


def _odd_octal(raw: bytes) -> int:
    """Numbers that end in zeros with something after them."""
    try:
        return int(raw.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        raise TarError("the archive has a damaged header: a number is not octal") from None


def _decimal(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > 20:
        raise TarError("the archive has a damaged pax header: a number is not decimal")
    return int(raw)


def _nanoseconds(raw: bytes) -> int:
    seconds, _, fraction = raw.partition(b".")
    sign = -1 if seconds.startswith(b"-") else 1
    return sign * (_decimal(seconds.lstrip(b"-")) * 1_000_000_000 + _decimal((fraction + b"000000000")[:9]))


def _text(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _shown(name: bytes) -> str:
    return ascii(name[:200].decode(errors="replace"))
