"""Volumes on disk, without root: atomic publishing, hostPath types, and subPaths that try to get out."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from reconciler.errors import TransientError
from reconciler.model.sandbox import EmptyDir, File, Files, HostPath
from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.volumes import Volumes, publish


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path / "disk", tmp_path / "memory", tmp_path / "parts")


def shown(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith("..")
    } | {
        f"{entry.name}/{inner.relative_to(entry)}": inner.read_bytes()
        for entry in root.iterdir()
        if entry.is_symlink() and entry.is_dir() and entry.name != "..data"
        for inner in entry.rglob("*")
        if inner.is_file()
    }


def test_publish_shows_new_content_and_drops_old(tmp_path: Path) -> None:
    publish(tmp_path, (File("a", b"1"), File("dir/b", b"2", 0o600)))
    assert shown(tmp_path) == {"a": b"1", "dir/b": b"2"}
    assert (tmp_path / "dir" / "b").stat().st_mode & 0o777 == 0o600
    first = os.readlink(tmp_path / "..data")
    publish(tmp_path, (File("a", b"3"), File("c", b"4")))
    assert shown(tmp_path) == {"a": b"3", "c": b"4"}
    assert not (tmp_path / first).exists()
    assert sorted(entry for entry in os.listdir(tmp_path) if not entry.startswith("..")) == ["a", "c"]


def test_no_reader_sees_half_of_it(tmp_path: Path) -> None:
    publish(tmp_path, (File("a", b"0"), File("b", b"0")))
    torn: list[tuple[bytes, bytes]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if not os.path.islink(tmp_path / "..data"):
                torn.append((b"", b"there was a moment with nothing"))
            try:
                directory = os.open(tmp_path / "..data", os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                continue  # it was replaced between reading the link and following it, as with kubelet's
            try:
                found = []
                for name in ("a", "b"):
                    with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
                        found.append(file.read())
                if found[0] != found[1]:
                    torn.append((found[0], found[1]))
            except FileNotFoundError:
                pass  # all of it was replaced while we read
            finally:
                os.close(directory)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        content = str(number).encode()
        publish(tmp_path, (File("a", content), File("b", content)))
    done.set()
    reader.join()
    assert torn == []


def test_paths_of_volumes(volumes: Volumes, tmp_path: Path) -> None:
    assert volumes.path("s1", EmptyDir("tmp")) == tmp_path / "disk" / "s1" / "tmp"
    assert volumes.path("s1", EmptyDir("tmp", "Memory")) == tmp_path / "memory" / "s1" / "tmp"
    assert volumes.path("s1", Files("keys", secret=True)) == tmp_path / "memory" / "s1" / "keys"
    assert volumes.path("s1", HostPath("host", "/srv")) == Path("/srv")
    assert volumes.mount_points("s1", [EmptyDir("a"), EmptyDir("b", "Memory")]) == [str(tmp_path / "memory/s1/b")]


def test_an_empty_dir_is_writable_by_anybody_and_keeps_its_content(volumes: Volumes) -> None:
    volume = EmptyDir("tmp")
    volumes.ensure("s1", volume)
    path = volumes.path("s1", volume)
    (path / "file").write_text("kept")
    volumes.ensure("s1", volume)
    assert (path / "file").read_text() == "kept"
    assert path.stat().st_mode & 0o777 == 0o777
    volumes.remove("s1", ())
    assert not path.exists()


@pytest.mark.parametrize(
    ("type", "exists", "word"),
    [
        ("Directory", "", "No such file"),
        ("Directory", "file", "is not a directory"),
        ("File", "directory", "is not a file"),
        ("FileOrCreate", "directory", "is not a file"),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("Socket", "file", "is not a socket"),
        ("CharDevice", "file", "is not a character device"),
        ("BlockDevice", "file", "is not a block device"),
    ],
)
def test_a_host_path_of_another_type(volumes: Volumes, tmp_path: Path, type: str, exists: str, word: str) -> None:
    path = tmp_path / "host"
    if exists == "file":
        path.touch()
    elif exists:
        path.mkdir()
    with pytest.raises(TransientError, match=word) as caught:
        volumes.ensure("s1", HostPath("host", str(path), type))
    assert caught.value.reason == "FailedMount"


@pytest.mark.parametrize(("type", "is_directory"), [("DirectoryOrCreate", True), ("FileOrCreate", False), ("", True)])
def test_a_host_path_is_made(volumes: Volumes, tmp_path: Path, type: str, is_directory: bool) -> None:
    path = tmp_path / "host"
    volumes.ensure("s1", HostPath("host", str(path), type))
    assert path.is_dir() is is_directory and path.is_file() is not is_directory
    volumes.remove("s1", ())
    assert path.exists()


@pytest.mark.parametrize("path", ["link/passwd", "../../../../etc/passwd", "absolute", "deep/up/passwd"])
def test_no_sub_path_leads_out_of_the_volume(tmp_path: Path, path: str) -> None:
    root = tmp_path / "volume"
    (root / "deep").mkdir(parents=True)
    (root / "link").symlink_to("/etc")
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "deep" / "up").symlink_to("../../../../../../../../../etc")
    descriptor = os.open(root, os.O_PATH)
    try:
        with pytest.raises(FileNotFoundError):  # /etc/passwd of the volume: there is none
            kernel.open_in_root(descriptor, path, os.O_RDONLY)
        (root / "etc").mkdir()
        (root / "etc" / "passwd").write_text("the volume's own")
        with open(kernel.open_in_root(descriptor, path, os.O_RDONLY)) as file:
            assert file.read() == "the volume's own"
    finally:
        os.close(descriptor)
