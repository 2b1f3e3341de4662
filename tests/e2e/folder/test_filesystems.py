"""Folders on filesystems that come, go, refuse and keep silent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.errors import TransientError
from reconciler.ports import Tree
from reconciler.sources.directory import DirectorySource

DEADLINE_SECONDS = 10

Hint = Callable[[], Awaitable[None]]


@contextmanager
def mounted(where: Path, *command: str) -> Iterator[None]:
    subprocess.run([*command, str(where)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True, capture_output=True)


@asynccontextmanager
async def watched(root: Path) -> AsyncIterator[tuple[DirectorySource, Hint]]:
    source = DirectorySource([root], look_seconds=0.1)
    hints: asyncio.Queue[None] = asyncio.Queue()

    async def follow() -> None:
        async for _ in source.changes():
            hints.put_nowait(None)

    async def hint() -> None:
        await asyncio.wait_for(hints.get(), DEADLINE_SECONDS)

    task = asyncio.create_task(follow())
    try:
        await hint()
        yield source, hint
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def contents(tree: Tree) -> dict[str, str]:
    return {file.path: file.content.decode() for file in tree.files}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


async def test_a_filesystem_mounted_over_the_folder_deletes_nothing(root: Path) -> None:
    (root / "web.yaml").write_text("web")
    async with watched(root) as (source, hint):
        assert contents(await source.load()) == {"web.yaml": "web"}
        with mounted(root, "mount", "-t", "tmpfs", "none"):
            await hint()
            with pytest.raises(
                TransientError, match="empty, and on another filesystem than before; mount it again"
            ) as e:
                await source.load()
            assert e.value.reason == "SourceUnreadable"
        await hint()
        assert contents(await source.load()) == {"web.yaml": "web"}
        (root / "web.yaml").write_text("new")
        await hint()
        assert contents(await source.load()) == {"web.yaml": "new"}


async def test_a_folder_that_is_unmounted_deletes_nothing(root: Path) -> None:
    async with watched(root) as (source, hint):
        with mounted(root, "mount", "-t", "tmpfs", "none"):
            (root / "web.yaml").write_text("web")
            await hint()
            assert contents(await source.load()) == {"web.yaml": "web"}
        await hint()
        with pytest.raises(TransientError, match="mount it again"):
            await source.load()
        with mounted(root, "mount", "-t", "tmpfs", "none"):
            (root / "web.yaml").write_text("again")
            await hint()
            assert contents(await source.load()) == {"web.yaml": "again"}
    with mounted(root, "mount", "-t", "tmpfs", "none"):
        assert (await DirectorySource([root]).load()).files == ()


async def test_a_folder_emptied_in_its_place_is_empty(root: Path) -> None:
    (root / "web.yaml").write_text("web")
    source = DirectorySource([root])
    await source.load()
    (root / "web.yaml").unlink()
    assert (await source.load()).files == ()


async def test_a_filesystem_that_may_change_behind_the_kernel_is_looked_at(root: Path, tmp_path: Path) -> None:
    layers = []
    for layer in ("lowerdir", "upperdir", "workdir"):
        (tmp_path / layer).mkdir()
        layers.append(f"{layer}={tmp_path / layer}")
    (tmp_path / "lowerdir/web.yaml").write_text("0")
    with mounted(root, "fuse-overlayfs", "-o", ",".join(layers)):
        async with watched(root) as (source, hint):
            assert source.polling == "fuse.fuse-overlayfs does not report all changes"
            for change in ("1", "2", "33"):
                (root / "web.yaml").write_text(change)
                deadline = time.monotonic() + DEADLINE_SECONDS
                while contents(await source.load()) != {"web.yaml": change}:
                    await hint()
                    assert time.monotonic() < deadline


FOLLOWED = textwrap.dedent("""
    import asyncio, json, sys
    from pathlib import Path
    from reconciler.sources.directory import DirectorySource

    async def main():
        root = Path(sys.argv[1])
        source = DirectorySource([root], look_seconds=0.1)
        rounds = 0
        async for _ in source.changes():
            tree = await source.load()
            print(json.dumps([source.polling, [f.content.decode() for f in tree.files]]), flush=True)
            if [f.content for f in tree.files] == [b"3"]:
                return
            rounds += 1
            (root / "beside").write_text(str(rounds))
            (root / "beside").rename(root / "web.yaml")
    asyncio.run(main())
""")


@pytest.mark.parametrize(
    ("limit", "value", "polling"),
    [
        ("instances", 0, "no inotify instance is left; raise fs.inotify.max_user_instances"),
        ("watches", 0, "no inotify watch is left; raise fs.inotify.max_user_watches"),
    ],
)
def test_where_a_limit_is_reached_the_folder_is_looked_at(root: Path, limit: str, value: int, polling: str) -> None:
    script = f'echo {value} > /proc/sys/user/max_inotify_{limit} && exec "$@"'
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", sys.executable, "-c", FOLLOWED, str(root)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {line[0] for line in lines} == {polling}
    assert [line[1] for line in lines if line[1]][-1] == ["3"]


LOADED = textwrap.dedent("""
    import asyncio, json, sys
    from pathlib import Path
    from reconciler.errors import TransientError
    from reconciler.sources.directory import DirectorySource

    try:
        tree = asyncio.run(DirectorySource([Path(sys.argv[1])]).load())
        print(json.dumps([[f.path for f in tree.files], dict(tree.unreadable)]))
    except TransientError as error:
        print(json.dumps([error.reason, str(error)]))
""")


def loaded_without_rights(root: Path) -> object:
    """What a process sees to which file modes apply, as they do not to root."""
    ran = subprocess.run(
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable, "-c", LOADED, str(root)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    return json.loads(ran.stdout)


def test_what_may_not_be_read_is_not_gone(root: Path) -> None:
    for path in (root / "ok.yaml", root / "no.yaml", root / "closed/x.yaml"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (root / "no.yaml").chmod(0)
    (root / "closed").chmod(0)
    denied = "cannot be read: Permission denied"
    try:
        assert loaded_without_rights(root) == [["ok.yaml"], {"closed": denied, "no.yaml": denied}]
        os.chmod(root, 0)
        assert loaded_without_rights(root) == ["SourceUnreadable", f"{root}: Permission denied"]
    finally:
        os.chmod(root, 0o755)
        (root / "closed").chmod(0o755)
