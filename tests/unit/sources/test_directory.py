"""A real folder, read and watched: what counts, what is refused and why, and how soon a change is told."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from reconciler.errors import TransientError
from reconciler.manifest.yamldoc import MAX_BYTES
from reconciler.ports import Source, Tree
from reconciler.sources.directory import DirectorySource

DEADLINE_SECONDS = 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


def write(path: Path, text: str = "a: 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def contents(tree: Tree) -> dict[str, str]:
    return {file.path: file.content.decode() for file in tree.files}


async def paths(root: Path) -> list[str]:
    return [file.path for file in (await DirectorySource([root]).load()).files]


async def refusals(root: Path) -> dict[str, str]:
    return dict((await DirectorySource([root]).load()).unreadable)


# What counts


async def test_manifests_are_found_at_any_depth_by_their_names(root: Path) -> None:
    kept = ["a.yaml", "b.yml", "c.json", "sub/deep/d.yaml", "sub/e.yaml"]
    dropped = [
        ".hidden.yaml", ".git/config.yaml", "sub/.x/y.yaml", "a.yaml~", "#a.yaml#", ".#a.yaml", "a.yaml.swp",
        "a.yaml.bak", ".a.yaml.swp", "README.md", "yaml", "a.YAML.txt", "4913",
    ]  # fmt: skip
    for name in [*kept, *dropped]:
        write(root / name, name)
    tree = await DirectorySource([root]).load()
    assert contents(tree) == {name: name for name in kept}
    assert tree.unreadable == {}


async def test_the_revision_is_of_names_and_content_and_of_nothing_else(root: Path, tmp_path: Path) -> None:
    write(root / "a.yaml", "1")
    write(root / "b.yaml", "2")
    first = await DirectorySource([root]).load()
    os.utime(root / "a.yaml", (1, 1))
    root.rename(tmp_path / "elsewhere")
    root = tmp_path / "elsewhere"
    assert (await DirectorySource([root]).load()).revision == first.revision
    write(root / "a.yaml", "3")
    changed = await DirectorySource([root]).load()
    assert changed.revision != first.revision
    write(root / "a.yaml", "1")
    (root / "b.yaml").rename(root / "c.yaml")
    assert (await DirectorySource([root]).load()).revision not in (first.revision, changed.revision)


async def test_several_roots_and_a_single_file(tmp_path: Path) -> None:
    write(tmp_path / "one/a.yaml", "1")
    write(tmp_path / "two/a.yaml", "2")
    write(tmp_path / "three", "3")
    source = DirectorySource([tmp_path / "one", tmp_path / "two/", tmp_path / "three"])
    assert contents(await source.load()) == {f"{tmp_path}/{name}": text for name, text in
                                             [("one/a.yaml", "1"), ("three", "3"), ("two/a.yaml", "2")]}  # fmt: skip
    assert contents(await DirectorySource([tmp_path / "three"]).load()) == {"three": "3"}


async def test_it_is_a_source(root: Path) -> None:
    source: Source = DirectorySource([root])
    assert source.name == str(root)


# Symlinks


async def test_content_published_as_kubernetes_does(root: Path) -> None:
    write(root / "..2026_11_23/web.yaml", "old")
    (root / "..data").symlink_to("..2026_11_23")
    (root / "web.yaml").symlink_to("..data/web.yaml")
    assert contents(await DirectorySource([root]).load()) == {"web.yaml": "old"}


async def test_a_link_to_a_folder_inside_counts_once(root: Path) -> None:
    write(root / "releases/2/web.yaml")
    write(root / ".worktrees/abc/db.yaml")
    (root / "current").symlink_to("releases/2")
    (root / "synced").symlink_to(".worktrees/abc")
    (root / "alias.yaml").symlink_to("releases/2/web.yaml")
    assert await paths(root) == ["releases/2/web.yaml", "synced/db.yaml"]


async def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    write(root / "web.yaml")
    (tmp_path / "link").symlink_to("manifests")
    assert await paths(tmp_path / "link") == ["web.yaml"]


async def test_links_that_lead_nowhere_good_are_refused(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside/secret.yaml")
    write(tmp_path / "manifests-too/x.yaml")
    (root / "sub").mkdir()
    (root / "self.yaml").symlink_to("self.yaml")
    (root / "up").symlink_to("..")
    (root / "sub/loop").symlink_to("..")
    (root / "sub/here").symlink_to(".")
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "secret.yaml").symlink_to(tmp_path / "outside/secret.yaml")
    (root / "beside").symlink_to("../manifests-too")
    (root / "nothing.yaml").symlink_to("nowhere")
    (root / "README").symlink_to(tmp_path / "outside/secret.yaml")
    leaves = "this symlink leaves the folder; copy what it points to, or watch that too"
    loop = "this symlink points to a folder that it is in, a loop; remove it"
    tree = await DirectorySource([root]).load()
    assert tree.files == ()
    assert tree.unreadable == {
        "self.yaml": "this symlink leads back to itself, a loop; remove it",
        "up": leaves,
        "sub/loop": loop,
        "sub/here": loop,
        "outside": leaves,
        "secret.yaml": leaves,
        "beside": leaves,
        "nothing.yaml": "this symlink points to nothing; mend or remove it",
    }


async def test_folders_that_link_to_each_other_end(root: Path) -> None:
    for name in "abcdefgh":
        write(root / name / "x.yaml")
        for other in "abcdefgh":
            if other != name:
                (root / name / other).symlink_to(f"../{other}")
    start = time.monotonic()
    assert await paths(root) == [f"{name}/x.yaml" for name in "abcdefgh"]
    assert time.monotonic() - start < 1


# What cannot be taken


async def test_what_is_no_regular_file_is_refused_without_waiting_for_it(root: Path) -> None:
    os.mkfifo(root / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)
        try:
            listener.bind("socket.yaml")
        finally:
            os.chdir(here)
        why = "this is no regular file; replace it or give it another name"
        assert await refusals(root) == {"pipe.yaml": why, "socket.yaml": why}


async def test_a_file_that_is_too_big_is_not_read(root: Path) -> None:
    with open(root / "big.yaml", "wb") as file:
        file.truncate(MAX_BYTES)
    with open(root / "huge.yaml", "wb") as file:
        file.truncate(1 << 40)
    assert await refusals(root) == {
        "big.yaml": "10.0 MB is too big for a manifest (the limit is 10 MB); split the file",
        "huge.yaml": "1099511.6 MB is too big for a manifest (the limit is 10 MB); split the file",
    }


async def test_names_that_cannot_be_shown_are_refused_in_letters(root: Path) -> None:
    (root / "a\x1b[31m.yaml").touch()
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.yaml")).touch()
    write(root / "line\nbreak/x.yaml")
    assert await refusals(root) == dict.fromkeys(
        [r"a\x1b[31m.yaml", r"\udcff.yaml", r"line\nbreak"],
        "this name has characters that cannot be shown; rename it",
    )


async def test_a_root_that_is_gone_says_nothing_about_its_objects(root: Path) -> None:
    source = DirectorySource([root])
    write(root / "a.yaml")
    await source.load()
    (root / "a.yaml").unlink()
    root.rmdir()
    with pytest.raises(TransientError) as caught:
        await source.load()
    assert (caught.value.reason, str(caught.value)) == ("SourceUnreadable", f"{root}: No such file or directory")
    root.touch()
    assert contents(await source.load()) == {"manifests": ""}
    root.unlink()
    root.symlink_to("manifests")
    with pytest.raises(TransientError, match="Too many levels of symbolic links"):
        await source.load()


# Watching


@asynccontextmanager
async def watched(
    *roots: Path, look_seconds: float = 0.2
) -> AsyncIterator[tuple[DirectorySource, Callable[[], asyncio.Future[float]]]]:
    """A source whose changes are followed. The second value waits for the next hint and returns when it came."""
    source = DirectorySource(roots, look_seconds=look_seconds)
    hints: asyncio.Queue[float] = asyncio.Queue()

    async def follow() -> None:
        async for _ in source.changes():
            hints.put_nowait(time.monotonic())

    task = asyncio.create_task(follow())

    def hint() -> asyncio.Future[float]:
        return asyncio.ensure_future(asyncio.wait_for(hints.get(), DEADLINE_SECONDS))

    try:
        await hint()
        yield source, hint
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def put(root: Path, name: str, text: str) -> None:
    """As careful programs write: beside, then renamed into place."""
    beside = root.parent / "beside"
    beside.write_text(text)
    beside.rename(root / name)


async def test_a_file_renamed_into_place_is_told_within_10_ms(root: Path) -> None:
    delays = []
    async with watched(root) as (source, hint):
        assert source.polling == ""
        await source.load()
        for round in range(9):
            (root.parent / "beside").write_text(str(round))
            start = time.monotonic()
            (root.parent / "beside").rename(root / "web.yaml")
            delays.append(await hint() - start)
            assert contents(await source.load()) == {"web.yaml": str(round)}
    assert sorted(delays)[1] < 0.010, delays  # the others, if anything, tell of a busy machine


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda r: put(r, "a.yaml", "new"), {"a.yaml": "new", "sub/b.yaml": "b"}, id="replaced"),
        pytest.param(lambda r: write(r / "a.yaml", "new"), {"a.yaml": "new", "sub/b.yaml": "b"}, id="edited in place"),
        pytest.param(lambda r: (r / "a.yaml").unlink(), {"sub/b.yaml": "b"}, id="deleted"),
        pytest.param(lambda r: (r / "a.yaml").rename(r / "sub/c.yaml"), {"sub/b.yaml": "b", "sub/c.yaml": "a"},
                     id="moved"),
        pytest.param(lambda r: (r / "sub").rename(r / "bus"), {"a.yaml": "a", "bus/b.yaml": "b"}, id="folder renamed"),
        pytest.param(lambda r: (r / "sub").rename(r.parent / "x"), {"a.yaml": "a"}, id="folder moved out"),
        pytest.param(lambda r: (r / "a.yaml").rename(r / "a.txt"), {"sub/b.yaml": "b"}, id="renamed away"),
        pytest.param(lambda r: write(r / "new/deep/c.yaml", "c"),
                     {"a.yaml": "a", "new/deep/c.yaml": "c", "sub/b.yaml": "b"}, id="new folders"),
        pytest.param(lambda r: os.link(r / "../outside.yaml", r / "c.yaml"),
                     {"a.yaml": "a", "c.yaml": "outside", "sub/b.yaml": "b"}, id="hard link"),
        pytest.param(lambda r: (r / "c.yaml").symlink_to("sub/.h"), {"a.yaml": "a", "c.yaml": "h", "sub/b.yaml": "b"},
                     id="symlink"),
        pytest.param(lambda r: (r / "current").symlink_to(".releases"),
                     {"a.yaml": "a", "current/r.yaml": "r", "sub/b.yaml": "b"}, id="symlink to a folder"),
    ],
)  # fmt: skip
async def test_every_kind_of_change_is_told(
    root: Path, change: Callable[[Path], object], expected: dict[str, str]
) -> None:
    write(root / "a.yaml", "a")
    write(root / "sub/b.yaml", "b")
    write(root / "sub/.h", "h")
    write(root / ".releases/r.yaml", "r")
    write(root.parent / "outside.yaml", "outside")
    async with watched(root, look_seconds=60) as (source, hint):
        await source.load()
        change(root)
        while True:
            await hint()
            if contents(await source.load()) == expected:
                break


async def test_a_swapped_data_link_is_told_and_taken_as_a_whole(root: Path) -> None:
    for version in ("1", "2"):
        write(root / f"..v{version}/web.yaml", f"web {version}")
        write(root / f"..v{version}/db.yaml", f"db {version}")
    (root / "..data").symlink_to("..v1")
    for name in ("web.yaml", "db.yaml"):
        (root / name).symlink_to(f"..data/{name}")
    async with watched(root, look_seconds=60) as (source, hint):
        assert contents(await source.load()) == {"db.yaml": "db 1", "web.yaml": "web 1"}
        (root / "..data_tmp").symlink_to("..v2")
        await hint()
        (root / "..data_tmp").rename(root / "..data")
        await hint()
        assert contents(await source.load()) == {"db.yaml": "db 2", "web.yaml": "web 2"}
        (root / "..v2/web.yaml").write_text("web 3")
        await hint()
        assert contents(await source.load()) == {"db.yaml": "db 2", "web.yaml": "web 3"}


async def test_a_root_below_a_swapped_link_is_told(tmp_path: Path) -> None:
    """git-sync: <mount>/current is a link that is replaced, and the manifests are in a folder of the checkout."""
    for version in ("1", "2"):
        write(tmp_path / f".worktrees/{version}/manifests/web.yaml", version)
    (tmp_path / "current").symlink_to(".worktrees/1")
    async with watched(tmp_path / "current/manifests", look_seconds=60) as (source, hint):
        assert contents(await source.load()) == {"web.yaml": "1"}
        (tmp_path / "next").symlink_to(".worktrees/2")
        (tmp_path / "next").rename(tmp_path / "current")
        await hint()
        assert contents(await source.load()) == {"web.yaml": "2"}
        put(tmp_path / ".worktrees/2/manifests", "web.yaml", "3")
        await hint()
        assert contents(await source.load()) == {"web.yaml": "3"}


async def test_a_root_that_is_removed_and_made_again(root: Path) -> None:
    write(root / "a.yaml", "1")
    async with watched(root, look_seconds=60) as (source, hint):
        await source.load()
        (root / "a.yaml").unlink()
        root.rmdir()
        while True:
            await hint()
            with suppress(TransientError):
                await source.load()
                continue
            break
        root.mkdir()
        await hint()
        assert (await source.load()).files == ()
        write(root / "a.yaml", "2")
        await hint()
        assert contents(await source.load()) == {"a.yaml": "2"}


async def test_a_root_whose_parents_come_later(tmp_path: Path) -> None:
    root = tmp_path / "a/b/manifests"
    async with watched(root, look_seconds=60) as (source, hint):
        for folder in (tmp_path / "a", tmp_path / "a/b", root):
            with pytest.raises(TransientError):
                await source.load()
            folder.mkdir()
            await hint()
        assert (await source.load()).files == ()
        put(root, "x.yaml", "x")
        await hint()
        assert contents(await source.load()) == {"x.yaml": "x"}


async def test_editors_swap_files_are_no_news(root: Path) -> None:
    write(root / "web.yaml")
    async with watched(root, look_seconds=60) as (source, hint):
        await source.load()
        for name in (".web.yaml.swp", "web.yaml~", "#web.yaml#", ".#web.yaml"):
            write(root / name, "x")
            (root / name).unlink()
        write(root / "notes.txt", "x")
        write(root / "notes.txt", "y")
        told = hint()
        await asyncio.sleep(0.05)
        assert not told.done()
        put(root, "web.yaml", "news")
        await told


async def test_a_file_that_is_being_written_stays_as_it_was(root: Path) -> None:
    write(root / "web.yaml", "whole")
    async with watched(root, look_seconds=60) as (source, hint):
        await source.load()
        with open(root / "web.yaml", "w") as file, open(root / "new.yaml", "w") as new:
            new.write("ha")
            new.flush()
            assert contents(await source.load()) == {"web.yaml": "whole"}
            file.write("ha")
            file.flush()
            put(root, "other.yaml", "x")
            await hint()
            assert contents(await source.load()) == {"other.yaml": "x", "web.yaml": "whole"}
            file.write("lf")
            new.write("lf")
        await hint()
        assert contents(await source.load()) == {"new.yaml": "half", "other.yaml": "x", "web.yaml": "half"}


async def test_a_file_that_is_never_closed_counts_after_a_while(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.watch._WRITING_SECONDS", 0.2)
    write(root / "web.yaml", "whole")
    async with watched(root, look_seconds=0.05) as (source, hint):
        await source.load()
        with open(root / "web.yaml", "w") as file:
            file.write("open")
            file.flush()
            start = time.monotonic()
            assert contents(await source.load()) == {"web.yaml": "whole"}
            while contents(await source.load()) != {"web.yaml": "open"}:
                assert await hint() - start < DEADLINE_SECONDS
            assert time.monotonic() - start > 0.15


async def test_what_is_being_written_at_the_first_load_is_not_gone(root: Path) -> None:
    write(root / "web.yaml", "whole")
    async with watched(root) as (source, _):
        with open(root / "web.yaml", "w") as file:
            file.write("ha")
            file.flush()
            tree = await source.load()
    assert (tree.files, tree.unreadable) == ((), {"web.yaml": "somebody is writing it just now"})


async def test_what_moves_while_it_is_read_is_never_missing(root: Path) -> None:
    """A file goes to and fro between two folders, and the walk may have passed either."""
    write(root / "one/web.yaml", "web")
    (root / "two").mkdir()
    for i in range(100):
        write(root / f"between/{i}.yaml")
    stop = False

    def move() -> None:
        places = [root / "one/web.yaml", root / "two/web.yaml"]
        while not stop:
            places[0].rename(places[1])
            places.reverse()
            time.sleep(0.003)

    async with watched(root) as (source, _):
        mover = asyncio.create_task(asyncio.to_thread(move))
        try:
            for _ in range(50):
                tree = await source.load()
                assert {"one/web.yaml", "two/web.yaml", "."} & (contents(tree).keys() | tree.unreadable.keys())
        finally:
            stop = True
            await mover


async def test_a_folder_that_never_rests_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is never where the walk looks."""
    write(root / "one/web.yaml", "web")
    write(root / "stays.yaml", "stays")
    monkeypatch.setattr("reconciler.sources.directory._moved", lambda found: True)
    source = DirectorySource([root])
    why = "the folder changes faster than it can be read"
    assert (await source.load()).unreadable == {".": why}
    assert (await source.load()).unreadable == {}
    (root / "one/web.yaml").rename(root / "elsewhere")
    tree = await source.load()
    assert (contents(tree), tree.unreadable) == ({"stays.yaml": "stays"}, {"one/web.yaml": why})
    (root / "elsewhere").rename(root / "web.yaml")
    assert (await source.load()).unreadable == {}


async def test_a_change_within_one_tick_of_the_clock_is_seen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.13, two edits within 4 ms could leave the same timestamps."""
    monkeypatch.setattr("reconciler.sources.directory._signature", lambda status: (status.st_size, status.st_ino))
    source = DirectorySource([root])
    for round in range(20):
        (root / "a.yaml").write_text(f"{round:04}")
        assert contents(await source.load()) == {"a.yaml": f"{round:04}"}


async def test_a_thousand_unchanged_files_are_read_in_tens_of_milliseconds(root: Path) -> None:
    for i in range(1_000):
        write(root / f"{i % 20}/{i}.yaml", f"a: {i}\n" * 50)
        os.utime(root / f"{i % 20}/{i}.yaml", (1, 1))
    async with watched(root) as (source, _):
        first = await source.load()
        await asyncio.sleep(0.06)
        await source.load()
        opened = []
        real_open = os.open
        os.open = lambda *args, **more: opened.append(args) or real_open(*args, **more)  # type: ignore[func-returns-value]
        try:
            start = time.process_time()
            again = await source.load()
            assert time.process_time() - start < 0.1
        finally:
            os.open = real_open
        assert opened == []
        assert again == first


async def test_nothing_is_left_open(root: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with watched(root):
            pass
    assert set(os.listdir("/proc/self/fd")) <= before
