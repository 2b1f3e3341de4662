"""The doctor on this very machine: what it says is what is so, and it leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECONCILER = [sys.executable, "-c", "from reconciler.cli import main; main()"]


def doctor(
    state_dir: Path, *arguments: str, before: tuple[str, ...] = (), **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *before,
            *RECONCILER,
            "--state-dir",
            str(state_dir),
            "--run-dir",
            str(state_dir / "run"),
            "doctor",
            *arguments,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        check=False,
    )


def by_name(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(done.stdout)}


def test_a_fit_host(tmp_path):
    done = doctor(tmp_path, "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = by_name(done)
    assert all(set(check) == {"name", "status", "found", "mend"} for check in checks.values())
    assert checks["overlayfs"]["status"] == "ok"
    assert checks["cgroups"]["found"] in ("v1", "v2", "hybrid")
    version = subprocess.run(["conmon", "--version"], capture_output=True, text=True, check=True).stdout
    assert checks["conmon"]["found"] in version
    assert all(check["mend"] for check in checks.values() if check["status"] != "ok")
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_the_same(tmp_path):
    rows = doctor(tmp_path).stdout.splitlines()
    assert rows[0].split() == ["CHECK", "STATUS", "FOUND", "MEND"]
    assert len(rows) == 1 + len(json.loads(doctor(tmp_path, "-o", "json").stdout))


@pytest.fixture
def path_without(tmp_path):
    """A PATH with everything but some programs."""

    def make(*missing: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        for program in ("crun", "runc", "conmon", "skopeo", "buildah"):
            if program not in missing and (path := shutil.which(program)):
                (folder / program).symlink_to(path)
        return str(folder)

    return make


def test_a_missing_program_is_named_with_the_command_that_installs_it(tmp_path, path_without):
    done = doctor(tmp_path / "state", "-o", "json", PATH=path_without("conmon", "skopeo"))
    assert done.returncode == 1
    checks = by_name(done)
    assert checks["conmon"]["status"] == "failed"
    assert checks["conmon"]["mend"] == "apt install conmon"
    assert checks["skopeo"]["status"] == "warning"


def test_without_root_it_says_so_and_what_it_could_not_try(tmp_path):
    done = doctor(Path("/var/lib/nowhere"), "-o", "json", before=("setpriv", "--reuid", "65534", "--clear-groups"))
    assert done.returncode == 1, done.stderr
    assert by_name(done)["root"] == {"name": "root", "status": "failed", "found": "not root", "mend": "use sudo"}
    assert by_name(done)["overlayfs"]["found"] == "could not be tried"


@pytest.mark.parametrize("kind", ["overlay", "ramfs"])
def test_a_state_directory_that_cannot_carry_containers_is_found_out(tmp_path, kind):
    """In a container (its root is an overlay, and cannot be the upper layer of another), or on a read-only disk."""
    where, upper, work = tmp_path / "where", tmp_path / "upper", tmp_path / "work"
    for folder in (where, upper, work):
        folder.mkdir()
    options = f"lowerdir=/usr/share,upperdir={upper},workdir={work}" if kind == "overlay" else "ro"
    subprocess.run(["mount", "-t", kind, "-o", options, kind, str(where)], check=True)
    try:
        done = doctor(where / "state", "-o", "json")
    finally:
        subprocess.run(["umount", str(where)], check=True)
    assert done.returncode == 1, done.stderr
    check = by_name(done)["overlayfs"]
    assert (check["status"], str(where) in check["found"]) == ("failed", True)
    assert "--state-dir" in check["mend"]


def test_what_cannot_work_refuses_with_exit_code_3(tmp_path, path_without):
    done = subprocess.run(
        [*RECONCILER, "--state-dir", str(tmp_path / "s"), "--run-dir", str(tmp_path / "r"), "watch", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path_without("conmon", "crun", "runc")},
        check=False,
        timeout=30,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "conmon" in done.stderr
    assert "apt install" in done.stderr
    assert "Traceback" not in done.stderr
