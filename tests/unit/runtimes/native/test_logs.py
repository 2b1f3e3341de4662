"""The CRI log format, and reading across rotations."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.ports import LogLine
from reconciler.runtimes.native import logs


def line(second: int, text: str, *, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-11-23T17:26:{second:02}.500000000+00:00 {stream} {tag} {text}\n"


AT = 1795454760.5  # 17:26:00.5


async def read(
    log: Path, *, follow: bool = False, tail: int | None = None, since: float | None = None, ended: bool = True
) -> list[str]:
    found = logs.read(log, follow=follow, tail=tail, since=since, ended=lambda: ended)
    return [one.text.decode() async for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"2026-11-23T17:26:00.5Z stdout F hello world", LogLine(AT, "stdout", b"hello world")),
        (b"2026-11-23T18:26:00.500000000+01:00 stderr F ", LogLine(AT, "stderr", b"")),
        (b"2026-11-23T17:26:00.500000000+00:00 stdout P part", LogLine(AT, "stdout", b"part", complete=False)),
        (b"2026-11-23T17:26:00.500000000+00:00 stdin F x", None),
        (b"not a line", None),
        (b"", None),
        (b"yesterday stdout F x", None),
        (b"\xff\xfe stdout F x", None),
    ],
)
def test_parse_line(text: bytes, expected: LogLine | None) -> None:
    assert logs.parse_line(text) == expected


def test_nanoseconds_are_kept_as_far_as_a_float_goes() -> None:
    parsed = logs.parse_line(b"2026-11-23T17:26:00.123456789+00:00 stdout F x")
    assert parsed is not None and abs(parsed.at - (AT - 0.5 + 0.123456789)) < 1e-6


async def test_reads_rotated_files_in_order(tmp_path: Path) -> None:
    for name, texts in (("log.2", "ab"), ("log.1", "cd"), ("log", "ef")):
        (tmp_path / name).write_text("".join(line(0, text) for text in texts))
    assert await read(tmp_path / "log") == list("abcdef")
    assert await read(tmp_path / "log", tail=3) == list("def")
    assert await read(tmp_path / "log", tail=0) == []


async def test_since_and_half_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line(0, "old") + line(5, "new") + line(6, "half").rstrip("\n"))
    assert await read(log, since=AT + 2) == ["new"]


async def test_tail_counts_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line(0, "a") + line(1, "b1", tag="P") + line(1, "b2", tag="P") + line(1, "b3") + line(2, "c"))
    assert await read(log, tail=2) == ["b1", "b2", "b3", "c"]
    assert await read(log, tail=1) == ["c"]


async def test_no_log_yet(tmp_path: Path) -> None:
    assert await read(tmp_path / "log") == []
    assert await read(tmp_path / "log", follow=True) == []


async def test_follow_goes_on_through_rotations_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0.001)
    log = tmp_path / "log"
    log.write_text(line(0, "0"))
    over = False
    found: list[str] = []

    async def follow() -> None:
        async for one in logs.read(log, follow=True, tail=None, since=None, ended=lambda: over):
            found.append(one.text.decode())

    task = asyncio.create_task(follow())
    for number in range(1, 30):
        if number % 7 == 0:  # twice in a row at times: the reader may be two files behind
            _move_aside(log)
        with log.open("a") as file:
            file.write(line(0, str(number)))
        if number % 3 == 0:
            await asyncio.sleep(0.003)
    over = True
    async with asyncio.timeout(5):
        await task
    assert found == [str(number) for number in range(30)]


def _move_aside(log: Path) -> None:
    for number in range(logs.MAX_FILES - 1, 0, -1):
        older = log if number == 1 else log.with_name(f"log.{number - 1}")
        if older.exists():
            older.rename(log.with_name(f"log.{number}"))


def test_rotate_keeps_five_and_asks_for_a_new_file(tmp_path: Path) -> None:
    log, control = tmp_path / "log", tmp_path / "ctl"
    os.mkfifo(control)
    reader = os.open(control, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for number in range(7):
            log.write_text(f"{number}" * 100)
            assert logs.rotate(log, control, max_bytes=100)
            assert os.read(reader, 100) == b"2 0 0\n"
        assert _contents(tmp_path) == ["3" * 100, "4" * 100, "5" * 100, "6" * 100]
        log.write_text("small")
        assert not logs.rotate(log, control, max_bytes=100)
    finally:
        os.close(reader)


def test_nothing_is_moved_when_nobody_would_open_a_new_file(tmp_path: Path) -> None:
    log, control = tmp_path / "log", tmp_path / "ctl"
    os.mkfifo(control)
    log.write_text("x" * 100)
    assert not logs.rotate(log, control, max_bytes=10)
    assert log.exists()


def _contents(directory: Path) -> Sequence[str]:
    return [path.read_text() for path in logs.files(directory / "log")]


def test_a_reader_that_is_a_file_behind_reads_all_of_it(tmp_path: Path) -> None:
    """The monitor goes on writing to the moved file until it opens the new one."""
    log = tmp_path / "log"
    log.write_text(line(0, "a"))
    reader = logs._Reader(log)
    assert [one.text for one in reader.lines()] == [b"a"]
    log.rename(tmp_path / "log.1")
    with (tmp_path / "log.1").open("a") as file:
        file.write(line(0, "late"))
    assert [one.text for one in reader.lines()] == [b"late"]
    log.write_text(line(0, "new"))
    assert [one.text for one in reader.lines()] == [b"new"]
    reader.close()
