"""The examples in the documents are run, in order, and print what the documents say.

In a page of docs/ a block whose info string is
  `LANGUAGE path/of/file`       is written to that file, in a directory of the page's own;
  `console tried`               is run: each `$ ` line, as root, in that directory;
  `console tried background`    is run too, and left running until the end of the page.

Below a command stands what it prints. `...` stands for anything; `[N]` for the exit code N, when it
is not 0. A reader would look again after a moment, and so does this test: a command with output
is run until the output is right, or ten seconds have passed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [page for page in sorted(ROOT.glob("docs/**/*.md")) if "\n```console tried" in page.read_text()]
BLOCK = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Command:
    text: str
    expected: str  # "" when it need not print anything
    code: int = 0


def commands(body: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        text, _, expected = part.partition("\n")
        code = re.search(r"^\[(\d+)\]\n?\Z", expected, flags=re.MULTILINE)
        yield Command(text, expected[: code.start()] if code else expected, int(code[1]) if code else 0)


def matches(expected: str, printed: str) -> bool:
    """Spaces at the ends and the widths of columns do not count."""

    def even(text: str) -> str:
        return "\n".join(re.sub(r"[ \t]+", " ", line).strip() for line in text.strip().splitlines())

    pattern = ".*".join(re.escape(part) for part in even(expected).split("..."))
    return re.fullmatch(pattern, even(printed), flags=re.DOTALL) is not None


class Reader:
    """Somebody who follows a page."""

    def __init__(self, work: Path) -> None:
        self._work = work / "page"
        self._work.mkdir()
        self._background: list[subprocess.Popen[bytes]] = []
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin:/bin",
            "RECONCILER_STATE_DIR": str(work / "state"),
            "RECONCILER_RUN_DIR": str(work / "run"),
        }

    def write(self, name: str, body: str) -> None:
        path = self._work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)

    def leave_running(self, command: Command) -> None:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.text}"],
            cwd=self._work,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._background.append(process)

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command.text],
            cwd=self._work,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def follow(self, command: Command) -> None:
        deadline = time.monotonic() + (PATIENCE_SECONDS if command.expected else 0)
        while True:
            done = self.run(command)
            if done.returncode == command.code and matches(command.expected, done.stdout):
                return
            if time.monotonic() >= deadline:
                pytest.fail(
                    f"$ {command.text}\nshould print (and exit {command.code}):\n{command.expected}\n"
                    f"printed (and exited {done.returncode}):\n{done.stdout}"
                )
            time.sleep(0.2)

    def end(self) -> None:
        for process in self._background:
            process.send_signal(signal.SIGINT)
        for process in self._background:
            process.wait(timeout=30)
        self.run(Command("reconciler down", ""))


@pytest.mark.parametrize("page", [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in PAGES])
def test_the_examples_of_a_page_work(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        for block in BLOCK.finditer(page.read_text()):
            kind, _, rest = block["info"].partition(" ")
            if kind != "console" and rest:
                reader.write(rest, block["body"])
            elif rest == "tried background":
                for command in commands(block["body"]):
                    reader.leave_running(command)
            elif rest == "tried":
                for command in commands(block["body"]):
                    reader.follow(command)
            else:
                assert not rest, f"what is {block['info']!r}?"
    finally:
        reader.end()


def test_some_page_has_examples() -> None:
    assert PAGES


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a  b\n", "a b\n", True),
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("hello-...   1/1\n", "hello-x   1/1   \n", True),
        ("a\n", "a\nb\n", False),
        ("a\n", "", False),
        ("", "a\n", False),
    ],
)
def test_output_is_compared_as_a_reader_would(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
