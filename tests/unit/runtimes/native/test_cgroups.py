"""Layouts of cgroup hierarchies, and limits written and read back, over a directory tree in place of the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.sandbox import Resources
from reconciler.runtimes.native.cgroups import Cgroups, Layout, cpu_quota, cpu_shares, limits, parse_layout, same_limit

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_LAYOUT = Layout({"memory": "/m", "cpu": "/c", "pids": "/p", "freezer": "/f"})


def test_hybrid() -> None:
    layout = parse_layout(HYBRID)
    assert layout.version == "hybrid"
    assert layout.controllers == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert layout.unified == "/sys/fs/cgroup/unified"
    assert layout.roots() == (
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/systemd",
        "/sys/fs/cgroup/unified",
    )


def test_version_2_and_1() -> None:
    assert parse_layout(V2) == Layout({}, "/sys/fs/cgroup")
    assert parse_layout(V2).version == "v2"
    assert parse_layout(HYBRID.rsplit("41 ", 1)[0]).version == "v1"


def test_shares_and_quota() -> None:
    assert [cpu_shares(m) for m in (None, 0, 1, 250, 4000)] == [None, 2, 2, 256, 4096]
    assert [cpu_quota(m) for m in (None, 1, 500, 2500)] == [None, 1000, 50_000, 250_000]


@pytest.mark.parametrize(
    ("declared", "seen", "same"),
    [
        ("100", "100", True),
        ("100", "101", False),
        ("-1", "9223372036854771712", True),
        ("max", "9223372036854771712", True),
        ("-1", "1048576", False),
        ("1048576", "-1", False),
        ("1048577", "1048576", True),  # the kernel rounds to pages
        ("1048576", "1052672", False),
        ("max 100000", "max 100000", True),
        ("50000 100000", "max 100000", False),
        ("2", "3", False),
    ],
)
def test_same_limit(declared: str, seen: str, same: bool) -> None:
    assert same_limit(declared, seen) is same


def tree(root: Path, layout: Layout, id: str) -> None:
    for controller, file, value in limits(Resources(), layout):
        mounted = layout.controllers.get(controller, layout.unified)
        if not mounted:
            continue
        directory = Path(mounted) / "reconciler-abc" / id
        directory.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(f"{value}\n")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_drift_is_seen_and_put_right(tmp_path: Path, version: str) -> None:
    controllers = {name: str(tmp_path / name) for name in ("memory", "cpu", "pids", "freezer")}
    layout = Layout(controllers) if version == "v1" else Layout({}, str(tmp_path / "unified"))
    tree(tmp_path, layout, "c1")
    groups = Cgroups(layout, "abc")
    declared = Resources(cpu_limit_millicores=500, memory_limit_bytes=64 << 20, pids_limit=10)
    assert not groups.drifted("c1", Resources())
    assert groups.drifted("c1", declared)
    groups.restore("c1", declared)
    assert not groups.drifted("c1", declared)
    assert groups.drifted("c1", Resources())
    assert groups.drifted("c1", Resources(cpu_limit_millicores=600, memory_limit_bytes=64 << 20, pids_limit=10))


def test_a_controller_that_the_host_lacks_is_no_drift(tmp_path: Path) -> None:
    layout = Layout({"memory": str(tmp_path / "memory"), "freezer": str(tmp_path / "freezer")})
    tree(tmp_path, layout, "c1")
    (tmp_path / "memory" / "reconciler-abc" / "c1" / "pids.max").unlink(missing_ok=True)
    assert not Cgroups(layout, "abc").drifted("c1", Resources())


def test_frozen_and_oom(tmp_path: Path) -> None:
    layout = Layout({"memory": str(tmp_path / "memory"), "freezer": str(tmp_path / "freezer")})
    for name, file, text in (
        ("freezer", "freezer.state", "FROZEN\n"),
        ("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ):
        directory = tmp_path / name / "reconciler-abc" / "c1"
        directory.mkdir(parents=True)
        (directory / file).write_text(text)
    groups = Cgroups(layout, "abc")
    assert (groups.frozen("c1"), groups.frozen("c2")) == (True, None)
    assert (groups.oom_kills("c1"), groups.oom_kills("c2")) == (2, 0)
    assert groups.ids() == {"c1"}
    groups.thaw("c1")
    assert groups.frozen("c1") is False
