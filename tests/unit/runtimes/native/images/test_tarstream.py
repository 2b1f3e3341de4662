import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from reconciler.runtimes.native.images.tarstream import Entry, TarError, TarStream

LONG = "d" * 90 + "/" + "f" * 200


def read_all(content: bytes) -> list[tuple[Entry, bytes]]:
    stream = TarStream(io.BytesIO(content))
    return [(entry, b"".join(iter(lambda: stream.read(1 << 20), b""))) for entry in stream]


def tar(format: int, *members: tuple[str, bytes, dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, content, fields in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_tells_the_same(format: int) -> None:
    content = tar(
        format,
        ("dir", b"", {"type": tarfile.DIRTYPE, "mode": 0o1777}),
        ("dir/file", b"hello" * 200, {"mode": 0o4755, "uid": 1000, "gid": 2000, "mtime": 1_767_225_600}),
        ("dir/hard", b"", {"type": tarfile.LNKTYPE, "linkname": "dir/file"}),
        ("dir/soft", b"", {"type": tarfile.SYMTYPE, "linkname": "../x"}),
        ("dir/null", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("p" * 80 + "/" + "q" * 60, b"split name", {}),
    )
    entries = read_all(content)
    assert [(e.kind, e.name.rstrip(b"/")) for e, _ in entries[:5]] == [
        (b"5", b"dir"),
        (b"0", b"dir/file"),
        (b"1", b"dir/hard"),
        (b"2", b"dir/soft"),
        (b"3", b"dir/null"),
    ]
    file, data = entries[1]
    assert (data, file.mode, file.uid, file.gid) == (b"hello" * 200, 0o4755, 1000, 2000)
    assert file.mtime_ns == 1_767_225_600 * 10**9
    assert entries[2][0].link == b"dir/file"
    assert (entries[4][0].major, entries[4][0].minor) == (1, 3)
    assert entries[5][0].name == b"p" * 80 + b"/" + b"q" * 60
    assert entries[5][1] == b"split name"


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_the_old_header_has_no_room_for(format: int) -> None:
    fields = {"uid": 3_000_000_000, "type": tarfile.SYMTYPE, "linkname": LONG}
    (entry, _), (after, _) = read_all(tar(format, (LONG, b"", fields), ("after", b"", {})))
    assert (entry.name, entry.link, entry.uid) == (LONG.encode(), LONG.encode(), 3_000_000_000)
    assert (after.name, after.link) == (b"after", b""), "an extension is for one entry only"


def test_pax_attributes_and_fractions() -> None:
    headers = {"mtime": "1700000000.123456789", "SCHILY.xattr.user.a": "b", "comment": "x", "path": "ü\nname"}
    ((entry, _),) = read_all(tar(tarfile.PAX_FORMAT, ("x", b"", {"pax_headers": headers})))
    assert entry.mtime_ns == 1_700_000_000_123_456_789
    assert entry.xattrs == {b"user.a": b"b"}
    assert entry.name == "ü\nname".encode()


def test_global_headers_are_defaults() -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "42", "comment": "c"}
    ) as archive:
        archive.addfile(tarfile.TarInfo("a"))
        archive.addfile(tarfile.TarInfo("b"))
    assert [entry.uid for entry, _ in read_all(buffer.getvalue())] == [42, 42]


@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_files_of_every_version(tmp_path: Path, options: list[str]) -> None:
    pieces = {offset: bytes([65 + offset // (1 << 20)]) * 4096 for offset in range(0, 60 << 20, 2 << 20)}
    with open(tmp_path / "sparse", "wb") as file:
        for offset, piece in pieces.items():
            file.seek(offset)
            file.write(piece)
        file.truncate(64 << 20)
    (tmp_path / "after").write_text("after")
    made = subprocess.run(
        ["tar", "-c", "-S", *options, "-C", str(tmp_path), "sparse", "after"], capture_output=True, check=True
    ).stdout
    assert len(made) < 1 << 20
    (entry, data), (after, text) = read_all(made)
    assert (entry.name, entry.size_bytes) == (b"sparse", 64 << 20)
    assert entry.segments is not None
    found, at = {}, 0
    for offset, length in entry.segments:
        if length:
            found[offset] = data[at : at + length]
            at += length
    assert found == pieces
    assert (after.name, text) == (b"after", b"after")


def header(**fields: bytes) -> bytes:
    """A valid header with some fields overwritten, and its checksum made right again."""
    raw = bytearray(tar(tarfile.USTAR_FORMAT, ("x", b"", {}))[:512])
    for field, value in fields.items():
        start = {"mode": 100, "uid": 108, "size": 124, "mtime": 136, "type": 156, "magic": 257}[field]
        raw[start : start + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"\x7fELF" + bytes(600), "not a tar archive", id="something else"),
        pytest.param(b"x" * 100, "middle of a header", id="short"),
        pytest.param(tar(tarfile.USTAR_FORMAT, ("x", b"y" * 900, {}))[:1000], "middle of a file", id="cut off"),
        pytest.param(header(type=b"Z"), "type b'Z'", id="unknown type"),
        pytest.param(header(size=b"zzz"), "not octal", id="size no number"),
        pytest.param(header(size=b"\xff" * 12), "negative", id="negative size"),
        pytest.param(header(type=b"L", size=b"77777777777\0"), "longer than", id="8 GiB of name"),
        pytest.param(header(type=b"x", size=b"\x80" + b"\x7f" * 11), "longer than", id="pax header beyond all bounds"),
        pytest.param(header(type=b"x", size=b"00000001000\0") + b"9" * 512, "pax header", id="pax without space"),
        pytest.param(header(type=b"x", size=b"00000001000\0") + b"20 path=x\n" + b" " * 502, "pax", id="pax lies"),
        pytest.param(header(type=b"S", size=b"00000000000\0")[:482] + b"\1" * 30, "not a tar|damaged", id="sparse map"),
    ],
)  # fmt: skip
def test_damaged_archives_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(TarError, match=why):
        read_all(content)


def test_a_sparse_map_may_not_lie() -> None:
    headers = {"GNU.sparse.map": "0,5,3,5", "GNU.sparse.size": "100"}
    with pytest.raises(TarError, match="sparse"):
        read_all(tar(tarfile.PAX_FORMAT, ("x", b"0123456789", {"pax_headers": headers})))
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    with pytest.raises(TarError, match="sparse"):
        read_all(tar(tarfile.PAX_FORMAT, ("x", b"99999999999\n" + bytes(500), {"pax_headers": headers})))


def test_archives_without_their_end_are_taken() -> None:
    assert [entry.name for entry, _ in read_all(header())] == [b"x"]


def test_what_the_caller_does_not_read_is_skipped() -> None:
    content = tar(tarfile.USTAR_FORMAT, ("a", b"1" * 1000, {}), ("b", b"2", {}))
    assert [entry.name for entry in TarStream(io.BytesIO(content))] == [b"a", b"b"]
