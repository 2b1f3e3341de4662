"""Layers become directories for overlayfs: everything a tar file can hold, and nothing outside the layer."""

import asyncio
import ctypes
import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import TransientError
from reconciler.runtimes.native.images.spec import DamagedBlob, InvalidImage, chain_ids
from reconciler.runtimes.native.images.unpack import Layer, LayerStore
from tests.images import LayerTar

DIR, LINK, SYMLINK, CHAR, BLOCK, FIFO = (
    tarfile.DIRTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
)
# cap_net_bind_service+ep, as setcap(8) writes it
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = LayerStore(path / "layers")
        self.store.ensure()

    def layers(self, *contents: bytes, packed: Any = lambda content: content) -> list[Layer]:
        diff_ids = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
        made = []
        for chain_id, diff_id, content in zip(chain_ids(diff_ids), diff_ids, contents, strict=True):
            blob = packed(content)
            digest = hashlib.sha256(blob).hexdigest()
            (self.path / digest).write_bytes(blob)
            made.append(Layer(chain_id, self.path / digest, f"sha256:{digest}", diff_id))
        return made

    async def unpack(self, *contents: bytes) -> tuple[Path, ...]:
        return await self.store.ensure_layers(self.layers(*contents))

    def leftovers(self) -> set[str]:
        return self.store.chain_ids() | {entry.name for entry in (self.path / "layers/.work").iterdir()}


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    bench = Bench(tmp_path)
    yield bench
    await bench.store.aclose()


async def test_every_kind_of_entry(bench: Bench) -> None:
    layer = LayerTar()
    layer.add("dir", kind=DIR, mode=0o2750, uid=1000, gid=2000)
    layer.add("dir/setuid", b"#!", mode=0o4755, uid=7, gid=8)
    layer.add("dir/hard", kind=LINK, linkname="dir/setuid")
    layer.add("dir/soft", kind=SYMLINK, linkname="/etc/shadow", uid=9)
    layer.add("dir/null", kind=CHAR, devmajor=1, devminor=3, mode=0o666)
    layer.add("dir/disk", kind=BLOCK, devmajor=8, devminor=1, mode=0o600)
    layer.add("dir/pipe", kind=FIFO, mode=0o620)
    layer.add("n" * 90 + "/" + "m" * 150, b"long name")
    layer.add("dir/empty", b"")
    (root,) = await bench.unpack(layer.content())

    def seen(name: str) -> os.stat_result:
        return os.lstat(root / name)

    assert stat.S_IMODE(seen("dir").st_mode) == 0o2750
    assert (seen("dir").st_uid, seen("dir").st_gid) == (1000, 2000)
    assert seen("dir").st_mtime == 1_767_225_600, "making what is inside must not change it"
    assert stat.S_IMODE(seen("dir/setuid").st_mode) == 0o4755
    assert (seen("dir/setuid").st_uid, seen("dir/setuid").st_gid) == (7, 8)
    assert seen("dir/hard").st_ino == seen("dir/setuid").st_ino
    assert os.readlink(root / "dir/soft") == "/etc/shadow"
    assert (seen("dir/soft").st_uid, seen("dir/soft").st_mtime) == (9, 1_767_225_600)
    assert (stat.S_ISCHR(seen("dir/null").st_mode), seen("dir/null").st_rdev) == (True, os.makedev(1, 3))
    assert stat.S_IMODE(seen("dir/null").st_mode) == 0o666
    assert (stat.S_ISBLK(seen("dir/disk").st_mode), seen("dir/disk").st_rdev) == (True, os.makedev(8, 1))
    assert stat.S_ISFIFO(seen("dir/pipe").st_mode) and stat.S_IMODE(seen("dir/pipe").st_mode) == 0o620
    assert (root / ("n" * 90) / ("m" * 150)).read_text() == "long name"


async def test_attributes_and_capabilities(bench: Bench) -> None:
    capability = CAPABILITY.decode("utf-8", "surrogateescape")
    layer = LayerTar()
    layer.add("ping", b"x", uid=5, pax_headers={"SCHILY.xattr.security.capability": capability})
    layer.add("note", b"x", pax_headers={"SCHILY.xattr.user.author": "me"})
    layer.add("sly", kind=DIR, pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"})
    (root,) = await bench.unpack(layer.content())
    assert os.getxattr(root / "ping", "security.capability") == CAPABILITY
    assert os.getxattr(root / "note", "user.author") == b"me"
    assert os.listxattr(root / "sly") == [], "an archive must not steer overlayfs"


async def test_sparse_files_stay_sparse(bench: Bench, tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(500 << 20)
        file.write(b"middle")
    made = subprocess.run(["tar", "-cS", "-C", tmp_path, "sparse"], capture_output=True, check=True).stdout
    (root,) = await bench.unpack(made)
    seen = os.stat(root / "sparse")
    assert (seen.st_size, seen.st_blocks < 1000) == (1 << 30, True)
    with open(root / "sparse", "rb") as file:
        file.seek(500 << 20)
        assert file.read(8) == b"middle\0\0"


@pytest.mark.parametrize("program", [None, "gzip", "zstd", "members"])
async def test_compressions(bench: Bench, program: str | None) -> None:
    content = LayerTar().add("file", os.urandom(3 << 20) + b"end").content()

    def pack(raw: bytes) -> bytes:
        if program is None:
            return raw
        if program == "members":
            return gzip.compress(raw[:100_000], 1) + gzip.compress(raw[100_000:], 1) + bytes(100)
        return subprocess.run([program, "-1", "-c"], input=raw, capture_output=True, check=True).stdout

    (root,) = await bench.store.ensure_layers(bench.layers(content, packed=pack))
    assert (root / "file").read_bytes()[-3:] == b"end"


@pytest.fixture
def merged(tmp_path: Path) -> Iterator[Any]:
    """Mounts layers (bottom first) as overlayfs, as the engine does."""
    libc = ctypes.CDLL(None, use_errno=True)
    target, upper, work = tmp_path / "merged", tmp_path / "upper", tmp_path / "work"
    mounted = []

    def mount(layers: tuple[Path, ...]) -> Path:
        for path in (target, upper, work):
            path.mkdir()
        lower = ":".join(str(path) for path in reversed(layers))
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        assert libc.mount(b"overlay", bytes(target), b"overlay", 0, options.encode()) == 0, os.strerror(
            ctypes.get_errno()
        )
        mounted.append(target)
        return target

    yield mount
    for path in mounted:
        libc.umount2(bytes(path), 2)


async def test_whiteouts_work_in_the_kernel(bench: Bench, merged: Any) -> None:
    bottom = LayerTar()
    for name in ("a/gone", "a/stays", "b/hidden/deep", "c/old", "d/file", "e/replaced"):
        bottom.add(name, b"bottom")
    top = LayerTar()
    top.add("a/.wh.gone")
    top.add("b/.wh..wh..opq")
    top.add("b/new", b"top")
    top.add(".wh.c")
    top.add("c", kind=DIR)
    top.add("c/fresh", b"top")
    top.add("d/file", b"top")
    top.add("d/.wh.file")
    top.add(".wh..wh.plnk/x")
    top.add(".wh.e")
    top.add("e", b"now a file")
    root = merged(await bench.unpack(bottom.content(), top.content()))
    found = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
    assert found == {
        "a/stays": "bottom",
        "b/new": "top",
        "c/fresh": "top",
        "d/file": "top",
        "e": "now a file",
    }


async def test_directories_without_an_entry_are_as_below(bench: Bench) -> None:
    bottom = LayerTar().add("tmp", kind=DIR, mode=0o1777).add("home", kind=DIR, mode=0o750, uid=1000)
    bottom.add("home/x", kind=SYMLINK, linkname="/etc")
    middle = LayerTar().add("home/y", b"")
    top = LayerTar().add("tmp/file", b"x").add("home/deep/er", b"x").add("home/x/passwd", b"x").add("new/dir/f", b"")
    root = (await bench.unpack(bottom.content(), middle.content(), top.content()))[2]
    assert stat.S_IMODE(os.lstat(root / "tmp").st_mode) == 0o1777
    assert (stat.S_IMODE(os.lstat(root / "home").st_mode), os.lstat(root / "home").st_uid) == (0o750, 1000)
    assert stat.S_IMODE(os.lstat(root / "home/x").st_mode) == 0o755, "a symlink below is not looked through"
    assert stat.S_IMODE(os.lstat(root / "new/dir").st_mode) == 0o755


async def test_the_root_directory_has_the_mode_of_its_entry(bench: Bench) -> None:
    os.umask(0o077)
    try:
        bottom, top = await bench.unpack(
            LayerTar().add(".", kind=DIR, mode=0o555).content(), LayerTar().add("x").content()
        )
        (plain,) = await bench.unpack(LayerTar().add("y").content())
    finally:
        os.umask(0o022)
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (bottom, top, plain)] == [0o555, 0o555, 0o755]


OUTSIDE = "canary"


def hostile() -> Iterator[Any]:
    """(what, members, the words of the refusal or None when it must be harmless). `{canary}` is a file outside."""
    yield "a parent in the name", [("../{canary}", b"x", {})], "leads out"
    yield "a parent inside the name", [("a/../../{canary}", b"x", {})], "leads out"
    yield "a hard link to a parent", [("x", b"", {"kind": LINK, "linkname": "../../{canary}"})], "leads out"
    yield "a hard link to the outside", [("x", b"", {"kind": LINK, "linkname": "{canary}"})], "not in the layer"
    yield (
        "hard link through a symlink",
        [("s", b"", {"kind": SYMLINK, "linkname": "{dir}"}), ("x", b"", {"kind": LINK, "linkname": "s/canary"})],
        "not in the layer",
    )
    yield "an absolute name", [("{canary}", b"x", {})], None
    yield (
        "a symlink, then a file through it",
        [("s", b"", {"kind": SYMLINK, "linkname": "{dir}"}), ("s/canary", b"x", {})],
        "used as a directory",
    )
    yield (
        "a symlink upwards, then a file through it",
        [("s", b"", {"kind": SYMLINK, "linkname": "../../../../.."}), ("s{canary}", b"x", {})],
        None,
    )
    yield (
        "a symlink, then a file in its place",
        [("s", b"", {"kind": SYMLINK, "linkname": "{canary}"}), ("s", b"x", {})],
        None,
    )
    yield (
        "a symlink, then a directory in its place",
        [("s", b"", {"kind": SYMLINK, "linkname": "{dir}"}), ("s", b"", {"kind": DIR, "mode": 0o777})],
        None,
    )
    yield (
        "a whiteout through a symlink",
        [("s", b"", {"kind": SYMLINK, "linkname": "{dir}"}), ("s/.wh.canary", b"", {})],
        "used as a directory",
    )
    yield "a whiteout of the parent", [(".wh...", b"", {})], "deletes no name"
    yield "a whiteout of nothing", [(".wh.", b"", {})], "deletes no name"
    yield (
        "a device, then a file in its place",
        [("d", b"", {"kind": BLOCK, "devmajor": 7, "devminor": 250}), ("d", b"x" * 512, {})],
        None,
    )
    yield "a file as directory", [("f", b"x", {}), ("f/g", b"x", {})], "used as a directory"
    yield "a file as the root", [(".", b"x", {})], "root directory"
    yield "a name of 5,000 characters", [("n/" * 2500 + "x", b"x", {})], "too long"
    yield "a component of 300 characters", [("n" * 300, b"x", {})], "too long"
    yield "a zero byte", [("x", b"", {"pax_headers": {"path": "a\0b"}})], "zero byte"
    yield "an owner beyond all bounds", [("x", b"", {"pax_headers": {"uid": "9" * 15}})], "beyond all bounds"


@pytest.mark.parametrize(("members", "refusal"), [pytest.param(m, r, id=what) for what, m, r in hostile()])
async def test_nothing_leads_out_of_the_layer(
    bench: Bench, tmp_path: Path, members: list[tuple[str, bytes, dict[str, Any]]], refusal: str | None
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    canary = outside / "canary"
    canary.write_text("untouched")
    before = (os.stat(canary), os.stat(outside))
    layer = LayerTar()
    for name, content, fields in members:
        fields = {
            key: value.format(canary=canary, dir=outside) if key == "linkname" else value
            for key, value in fields.items()
        }
        layer.add(name.format(canary=canary, dir=outside), content, **fields)
    if refusal is None:
        await bench.unpack(layer.content())
    else:
        with pytest.raises((InvalidImage, TransientError), match=refusal):
            await bench.unpack(layer.content())
        assert bench.leftovers() == set()
    assert canary.read_text() == "untouched"
    after = (os.stat(canary), os.stat(outside))
    assert [(s.st_mode, s.st_uid, s.st_nlink, s.st_mtime_ns) for s in after] == [
        (s.st_mode, s.st_uid, s.st_nlink, s.st_mtime_ns) for s in before
    ]


async def test_a_tree_deeper_than_any_path_is_removed_again(bench: Bench) -> None:
    layer = LayerTar()
    deep = "dd/" * 500
    layer.add(deep, kind=DIR)
    for number in range(3):  # each symlink leads five hundred levels down, and what is made through it goes on
        layer.add(f"s{number + 1}", kind=SYMLINK, linkname=(f"s{number}/" if number else "") + deep)
        layer.add(f"s{number + 1}/{deep}", kind=DIR)
    layer.add("..")
    with pytest.raises(InvalidImage, match="leads out"):
        await bench.unpack(layer.content())
    assert bench.leftovers() == set()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda blob: blob[:-400], "digest|ends too early", id="cut off"),
        pytest.param(lambda blob: blob + b"more", "damaged", id="something after it"),
        pytest.param(lambda blob: b"\x1f\x8b" + os.urandom(5000), "digest|damaged", id="noise"),
    ],
)
async def test_damage_is_noticed(bench: Bench, spoil: Any, words: str) -> None:
    content = LayerTar().add("f", os.urandom(100_000)).content()
    (layer,) = bench.layers(content, packed=lambda raw: gzip.compress(raw, 1))
    layer.blob.write_bytes(spoil(layer.blob.read_bytes()))
    with pytest.raises(InvalidImage, match=words):
        await bench.store.ensure_layers([layer])
    assert bench.leftovers() == set()


async def test_content_that_is_not_what_the_config_promises(bench: Bench) -> None:
    (layer,) = bench.layers(LayerTar().add("f").content(), packed=gzip.compress)
    promised = Layer("0" * 64, layer.blob, layer.digest, "sha256:" + "0" * 64)
    with pytest.raises(DamagedBlob, match="content has the digest"):
        await bench.store.ensure_layers([promised])
    assert bench.leftovers() == set()


async def test_layers_are_unpacked_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    child = bench.store._run_child

    async def counted(*arguments: Any) -> list[bytes]:
        runs.append(arguments)
        return await child(*arguments)

    monkeypatch.setattr(bench.store, "_run_child", counted)
    contents = [LayerTar().add(f"f{number}", os.urandom(50_000)).content() for number in range(6)]
    results = await asyncio.gather(*(bench.unpack(*contents) for _ in range(10)))
    assert len(set(results)) == 1
    assert len(runs) == 6


async def test_two_stores_on_one_directory(bench: Bench) -> None:
    other = LayerStore(bench.store.path)
    layers = bench.layers(*(LayerTar().add(f"f{number}", os.urandom(2_000_000)).content() for number in range(4)))
    first, second = await asyncio.gather(bench.store.ensure_layers(layers), other.ensure_layers(layers))
    await other.aclose()
    assert first == second
    assert bench.leftovers() == {layer.chain_id for layer in layers}


async def test_a_cancelled_unpack_leaves_nothing(bench: Bench) -> None:
    content = LayerTar().add("f", os.urandom(30_000_000)).content()
    task = asyncio.create_task(bench.unpack(content))
    deadline = asyncio.get_running_loop().time() + 10
    while not any((bench.path / "layers/.work").glob("*/root/f")):
        assert asyncio.get_running_loop().time() < deadline and not task.done()
        await asyncio.sleep(0.001)
    await bench.store.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.leftovers() == set()


async def test_a_layer_from_before_a_power_loss_is_not_trusted(bench: Bench) -> None:
    content = LayerTar().add("f", b"x").content()
    (path,) = await bench.unpack(content)
    await bench.store.aclose()
    note = bench.store.path / ".written" / path.name
    note.write_text("another boot")
    LayerStore(bench.store.path).ensure()
    assert bench.leftovers() == set()
    await bench.unpack(content)
    note.write_text("on disk")
    LayerStore(bench.store.path).ensure()
    assert bench.leftovers() == {path.name}


async def test_a_layer_is_noted_once_the_disk_has_it(bench: Bench) -> None:
    (path,) = await bench.unpack(LayerTar().add("f", b"x").content())
    deadline = asyncio.get_running_loop().time() + 30
    while (bench.store.path / ".written" / path.name).read_text() != "on disk":
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
