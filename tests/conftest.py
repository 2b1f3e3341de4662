"""Two rules for all tests: in CI a skipped test is a failed test, and a run leaves nothing behind.

What is left is found by whose it is: mounts under this run's temporary directory, processes that
inherited this run's mark, and links, nft tables and cgroups that carry the id of an instance whose
state directory lies there. In CI, where nobody else works on the machine, everything new counts.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

MARK = "RECONCILER_TEST_RUN"
IN_CI = os.environ.get("CI") == "true"
# pytest-xdist's workers are processes of ours that end after the check
WORKER = b"exec(eval(sys.stdin.readline()))"
CGROUP_DEPTH = 4


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    os.environ[MARK] = uuid.uuid4().hex
    config.stash[_before] = things()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI that is a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI that is a failure: {report.longrepr}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(_before, None)
    if before is None:
        return
    left = sorted(things() - before)
    if not IN_CI:
        mine = re.compile("|".join(map(re.escape, [*instances(session.config), str(base(session.config))])))
        left = [thing for thing in left if mine.search(thing)]
    left += sorted(processes(os.environ[MARK]))
    if left:
        session.config.stash[_left] = left
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left = config.stash.get(_left, [])
    if left:
        terminalreporter.section("LEFT BEHIND", red=True, bold=True)
        for thing in left:
            terminalreporter.line(thing)


_before = pytest.StashKey[set[str]]()
_left = pytest.StashKey[list[str]]()


def base(config: pytest.Config) -> Path:
    """This run's temporary directory."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    path = factory.getbasetemp()
    assert isinstance(path, Path)
    return path


def instances(config: pytest.Config) -> Iterator[str]:
    """The ids of all instances whose state directory lies under this run's temporary directory."""
    for path in base(config).rglob("engine.db"):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            yield from (row[0] for row in db.execute("SELECT value FROM settings WHERE key = 'instance'"))
        except sqlite3.Error:
            continue
        finally:
            db.close()


def things() -> set[str]:
    """Mounts, links, tables and cgroups of this host, one line each."""
    with open("/proc/self/mountinfo") as mounts:
        found = {f"mount {line.split()[4]}" for line in mounts}
    found |= {f"link {name}" for name in os.listdir("/sys/class/net")}
    if os.geteuid() == 0:
        listed = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True)
        tables = json.loads(listed.stdout)["nftables"] if listed.returncode == 0 else []
        found |= {f"nft table {t['table']['family']} {t['table']['name']}" for t in tables if "table" in t}
    return found | {f"cgroup {path}" for path in cgroups(Path("/sys/fs/cgroup"), CGROUP_DEPTH)}


def cgroups(parent: Path, depth: int) -> Iterator[Path]:
    try:
        children = [Path(entry) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in children:
        yield child
        if depth > 1:
            yield from cgroups(child, depth - 1)


def processes(mark: str) -> Iterator[str]:
    """Processes other than this one that were started by this run, whoever their parent is now."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if command and wanted in (entry / "environ").read_bytes().split(b"\0") and WORKER not in command:
                shown = command.replace(b"\0", b" ").decode(errors="replace")
                yield f"process {entry.name}: {shown[:200]}"
        except OSError:
            continue
