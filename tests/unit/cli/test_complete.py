"""Completion of verbs, kinds and names, through the variables that the shells' scripts set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from reconciler.cli import group

OWN = "/apis/reconciler.io/v1alpha1"


def complete(line: str, run_dir: Path) -> list[str]:
    """What is offered for the last word of `line`."""
    *words, last = line.split(" ")[1:]
    asked = ShellComplete(group, {}, "reconciler", "_RECONCILER_COMPLETE")
    return [item.value for item in asked.get_completions(["--run-dir", str(run_dir), *words], last)]


@pytest.fixture
def pods(daemon, make):
    daemon.on("GET /api/v1/namespaces/default/pods", make.listing("Pod", [make.pod("web-0"), make.pod("db-0")]))
    daemon.on("GET /api/v1/namespaces/shop/pods", make.listing("Pod", [make.pod("till", "shop")]))
    daemon.on(f"GET {OWN}/containers", [{"name": "main", "namespace": "default", "pod": "web-0"}])
    return daemon


def test_verbs(tmp_path: Path) -> None:
    assert complete("reconciler de", tmp_path) == ["describe"]


def test_kinds_and_names(pods, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert complete("reconciler get dep", run_dir) == ["deployments", "deployment/"]
    assert complete("reconciler get pods ", run_dir) == ["web-0", "db-0"]
    assert complete("reconciler get pods w", run_dir) == ["web-0"]
    assert complete("reconciler get pods web-0 ", run_dir) == ["db-0"]
    assert complete("reconciler describe po/w", run_dir) == ["po/web-0"]
    assert complete("reconciler get -n shop pod ", run_dir) == ["till"]
    assert complete("reconciler logs w", run_dir) == ["web-0"]
    assert complete("reconciler logs web-0 -c ", run_dir) == ["main"]


def test_without_a_daemon_there_is_nothing_to_offer_and_no_complaint(tmp_path: Path) -> None:
    assert complete("reconciler get pods ", tmp_path / "nowhere") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(run, shell: str) -> None:
    result = run("completion", shell)
    assert result.code == 0
    assert "_RECONCILER_COMPLETE" in result.out
    assert f"{shell}_complete" in result.out


def test_the_script_of_bash_completes_in_bash(run, pods, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "reconciler"
    program.write_text(f"#!{sys.executable}\nfrom reconciler.cli import main\nmain()\n")
    program.chmod(0o755)
    (tmp_path / "script").write_text(run("completion", "bash").out)
    line = "\n".join(
        [
            f"source {tmp_path / 'script'}",
            "COMP_WORDS=(reconciler get pods w); COMP_CWORD=3",
            '$(complete -p reconciler | sed "s/.*-F \\([^ ]*\\).*/\\1/") reconciler w pods',
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "RECONCILER_RUN_DIR": str(tmp_path / "run"),
    }
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("web-0\n", "")


def test_an_unknown_shell_is_asked_for(run, monkeypatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/dash")
    result = run("completion")
    assert result.code == 2
    assert "bash, zsh, fish" in result.err
