"""Exit codes, errors, global options, and what the way of `ps` may import."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from reconciler.cli import SECTIONS, VERBS, explain, group
from reconciler.errors import ConflictError, HostError, TerminalError, TransientError

HEAVY = ("rich", "pydantic", "aiohttp", "yaml", "asyncio", "http.client", "prometheus_client", "watchfiles")


def test_every_verb_exists_and_has_help_with_examples() -> None:
    ctx = click.Context(group)
    for name in VERBS:
        command = group.get_command(ctx, name)
        assert command is not None
        assert command.help, name
        assert "reconciler " + name in (command.epilog or command.help), f"{name}: no example"


def test_without_a_verb_it_helps(run) -> None:
    result = run()
    assert (result.code, result.err) == (0, "")
    assert result.out == run("--help").out
    assert "Examples:" in result.out


def test_no_verb_is_in_two_sections() -> None:
    assert sum(len(verbs) for verbs in SECTIONS.values()) == len(VERBS)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        pytest.param(
            click.UsageError("no such option: --x."), "Error: no such option: --x\nTry 'reconciler --help'.", 2
        ),
        pytest.param(HostError("needs root"), "Error: needs root", 3),
        pytest.param(TerminalError('pods "x" not found', reason="NotFound"), 'Error: pods "x" not found', 1),
        pytest.param(ConflictError("port 80 is taken"), "Error: port 80 is taken", 1),
        pytest.param(TransientError("it hung up", reason="DaemonGone"), "Error: it hung up", 3),
        pytest.param(PermissionError(13, "Permission denied", "/x"), "Error: /x: Permission denied", 3),
    ],
)
def test_errors_are_a_sentence_and_an_exit_code(error: Exception, text: str, code: int) -> None:
    assert explain(error) == (text, code)


def test_a_bug_is_one_line_without_a_traceback(run, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("what")

    monkeypatch.setattr("reconciler.cli.version._daemon_version", broken)
    result = run("version")
    assert (result.code, result.out) == (3, "")
    assert result.err == "Error: ZeroDivisionError: what; this is a bug: -v shows where\n"
    assert "Traceback" in run("-v", "version").err
    assert "Traceback" in run("version", "-v").err


def test_a_bug_in_a_thread_is_one_line_too(run, monkeypatch) -> None:
    def broken(*_: object) -> str:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        return ""

    monkeypatch.setattr("reconciler.cli.version._daemon_version", broken)
    result = run("version")
    assert (result.code, len(result.err.splitlines())) == (0, 1)
    assert result.err.startswith("Error: ZeroDivisionError")


def test_an_unknown_verb_names_the_nearest(run) -> None:
    result = run("descirbe")
    assert result.code == 2
    assert "did you mean 'describe'?" in result.err


def test_global_options_may_stand_on_either_side_and_the_later_wins(run, daemon) -> None:
    elsewhere = str(daemon.socket_path.parent.parent / "nowhere")
    for arguments in (
        ("--run-dir", str(daemon.socket_path.parent), "ps"),
        ("ps", "--run-dir", str(daemon.socket_path.parent)),
        ("--run-dir", elsewhere, "ps", "--run-dir", str(daemon.socket_path.parent)),
    ):
        daemon.on("GET /apis/reconciler.io/v1alpha1/containers", [])
        assert run(*arguments).code == 0, arguments


def test_without_a_daemon_and_without_root_it_cannot(run, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = run("ps")
    assert result.code == 3
    assert result.out == ""
    assert "needs root" in result.err
    assert len(result.err.splitlines()) <= 2


def test_a_daemon_that_is_starting_is_waited_for(run, daemon) -> None:
    daemon.on("GET /apis/reconciler.io/v1alpha1/containers", [])
    elsewhere = daemon.socket_path.with_name("not-yet")
    daemon.socket_path.rename(elsewhere)
    with open(daemon.socket_path.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        listening = threading.Timer(0.2, elsewhere.rename, [daemon.socket_path])
        listening.start()
        assert run("ps").code == 0
        listening.join()


def test_interrupt_is_quiet(run, monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reconciler.cli.version._daemon_version", interrupted)
    result = run("version")
    assert result.code == 130
    assert result.err.strip() == ""


def test_a_closed_pipe_is_quiet(daemon, tmp_path: Path) -> None:
    rows = [f"line {number}" for number in range(5000)]
    daemon.on(
        "GET /api/v1/namespaces/default/pods/web",
        {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c"}]}},
    )
    daemon.on("GET /api/v1/namespaces/default/pods/web/log", "\n".join(rows).encode())
    program = f"{sys.executable} -c 'from reconciler.cli import main; main()'"
    script = f"{program} logs web --run-dir {tmp_path / 'run'} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout == "line 0\n"
    assert done.stderr == ""
    assert done.returncode == 141


def test_ps_imports_nothing_heavy(daemon, tmp_path: Path) -> None:
    daemon.on("GET /apis/reconciler.io/v1alpha1/containers", [])
    code = f"""
import sys
sys.argv = ["reconciler", "--run-dir", {str(tmp_path / "run")!r}, "ps"]
from reconciler.cli import main
try:
    main()
except SystemExit as exit:
    assert exit.code == 0, exit.code
print(sorted(m for m in {HEAVY!r} if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
