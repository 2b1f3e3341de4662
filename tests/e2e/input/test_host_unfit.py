"""A machine, or a user, that cannot run containers: exit code 3, and how to mend it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import PROGRAM, Instance, pod

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all")


def run(base: Path, *arguments: str, before: tuple[str, ...] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*before, PROGRAM, "--state-dir", str(base / "state"), "--run-dir", str(base / "run"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )
    assert "Traceback" not in done.stderr
    return done


def without(*programs: str) -> tuple[str, ...]:
    """A command to put before another, which then finds none of these programs wherever it looks."""
    found = [path for name in programs for path in (shutil.which(name, path="/usr/sbin:/usr/bin"),) if path]
    assert len(found) == len(programs)
    hide = "; ".join(f"mount --bind /dev/null {path}" for path in found)
    return ("unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        pytest.param(("crun", "runc"), ["crun or runc", "apt install crun"], id="no runtime"),
        pytest.param(("conmon",), ["conmon", "apt install conmon"], id="no conmon"),
        pytest.param(("nft",), ["nft", "apt install nftables"], id="no nft"),
    ],
)
def test_something_is_not_installed(tmp_path: Path, missing: tuple[str, ...], words: list[str]) -> None:
    (tmp_path / "manifests").mkdir()
    try:
        for verb in (["watch", str(tmp_path / "manifests"), "--metrics-address", "off", "--once"], ["ps"]):
            done = run(tmp_path, *verb, before=without(*missing))
            assert done.returncode == 3, done.stdout + done.stderr
            assert all(word in done.stderr for word in words), done.stderr
            assert len(done.stderr.splitlines()) <= 2
        assert not (tmp_path / "state").exists()
    finally:
        if (tmp_path / "state").exists():
            run(tmp_path, "down")


def test_without_root(one: Instance) -> None:
    """Nobody may not look, with or without a daemon; to validate needs neither."""
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    one.base.chmod(0o755)
    one.base.parent.chmod(0o755)
    for verb in (["ps"], ["get", "pods"], ["down"], ["exec", "web", "true"], ["logs", "web"]):
        refused = run(one.base, *verb, before=NOBODY)
        assert (refused.returncode, refused.stdout) == (3, ""), refused.stderr
        assert "root" in refused.stderr
    assert one.ready("web")
    for verb in (["watch", "/usr/share/doc"], ["ps"], ["images"], ["down"]):
        refused = run(Path("/nonexistent"), *verb, before=NOBODY)
        assert (refused.returncode, refused.stdout) == (3, ""), refused.stderr
        assert "root" in refused.stderr
        assert "sudo" in refused.stderr
    checked = run(Path("/nonexistent"), "validate", "-", before=NOBODY, input=pod("web"))
    assert checked.returncode == 0, checked.stderr
