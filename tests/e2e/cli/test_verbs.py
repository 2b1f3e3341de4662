"""The command line against a real daemon, on real terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.instance import PROGRAM, Instance, pod

PATIENCE_SECONDS = 20.0


class Terminal:
    """A program on a terminal of its own; `seen` is all that it has written."""

    def __init__(self, arguments: list[str], *, columns: int, rows: int) -> None:
        self._far, near = pty.openpty()
        self.resize(columns, rows)
        environment = os.environ | {"TERM": "xterm-256color"}
        self._process = subprocess.Popen(
            arguments, stdin=near, stdout=near, stderr=near, start_new_session=True, env=environment
        )
        os.close(near)
        self.seen = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._far, text.encode())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def until(self, pattern: str) -> None:
        """Read until something that is written from now on matches; colours and cursor moves are left out."""
        deadline, start = time.monotonic() + PATIENCE_SECONDS, len(self.seen)
        while not re.search(pattern, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen[start:])):
            assert time.monotonic() < deadline, f"{pattern!r} is not in {self.seen[-2000:]!r}"
            self._read()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; {self.seen[-2000:]!r}"
            self._read()
        self._read()
        return self._process.returncode

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._far)

    def _read(self) -> None:
        if select.select([self._far], [], [], 0.05)[0]:
            try:
                self.seen += os.read(self._far, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                time.sleep(0.05)


@contextmanager
def terminal(one: Instance, *arguments: str, columns: int = 100, rows: int = 30) -> Iterator[Terminal]:
    program = [PROGRAM, "--state-dir", str(one.state_dir), "--run-dir", str(one.run_dir)]
    opened = Terminal([*program, *arguments], columns=columns, rows=rows)
    try:
        yield opened
    finally:
        opened.close()


def test_a_shell_on_a_terminal(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    with terminal(one, "exec", "-it", "web", "sh", columns=91, rows=27) as shell:
        shell.until("# ")
        shell.type("stty size\r")
        shell.until("27 91")
        shell.resize(61, 17)
        shell.signal(signal.SIGWINCH)  # as the kernel does for the foreground of a terminal
        shell.type("\r")
        shell.until("# ")
        shell.type("stty size\r")
        shell.until("17 61")
        shell.type("echo u''p; sleep 1000\r")
        shell.until(r"\r\nup")
        shell.type("\x03")
        shell.until(r"\^C")
        shell.type("exit 7\r")
        assert shell.wait() == 7


def test_exec_passes_streams_and_exit_codes(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    done = one.run("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, "out\n", "err\n")
    fed = one.run("exec", "-i", "web", "wc", "-c", input="x" * 300_000)
    assert (fed.returncode, fed.stdout.strip()) == (0, "300000")
    missing = one.run("exec", "web", "no-such-program")
    assert missing.returncode == 1
    assert "no-such-program" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_logs_follow_until_the_container_ends(one: Instance) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.3; done; exit 1"
    one.put("job.yaml", pod("job", script, restartPolicy="Never"))
    one.until(lambda: one.phase("job") == "Running")
    followed = one.run("logs", "-f", "job")
    assert (followed.returncode, followed.stdout) == (0, "line 1\nline 2\nline 3\n")
    identity = one.containers()[0]["id"]
    assert one.cli("logs", "--tail", "1", identity[:8]) == "line 3\n"
    assert one.cli("logs", "job/main") == followed.stdout
    stamped = one.cli("logs", "-t", "job").splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z line \d", line) for line in stamped)
    one.until(lambda: " Error " in one.cli("get", "pods"), "the pod has failed")


def test_ps_shows_what_runs(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.put("job.yaml", pod("job", "exit 3", restartPolicy="Never"))
    one.until(lambda: one.ready("web") and one.phase("job") == "Failed")
    assert [line.split()[-1] for line in one.cli("ps").splitlines()[1:]] == ["web/main"]
    assert re.search(r"Exited \(3\) .* ago +job/main", one.cli("ps", "-a"))
    assert one.cli("ps", "-q", "--filter", "pod=web").strip() == one.id("web")[:12]


def test_watching_prints_changes_until_interrupted(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    with terminal(one, "get", "pods", "-w") as watching:
        watching.until(r"web +1/1 +Running")
        one.put("new.yaml", pod("new"))
        watching.until(r"new +1/1 +Running")
        watching.type("\x03")
        watching.signal(signal.SIGINT)
        assert watching.wait() == 130
        assert "Traceback" not in watching.seen


def test_the_live_table(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    assert one.stop() == 0
    with terminal(one, "watch", str(one.folder), "--metrics-address", "off", columns=120) as live:
        live.until(r"pod/web +Running +1/1")
        live.until("in sync")
        one.put("bad.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containerz: []}\n")
        live.until(r"bad\.yaml:4")
        live.until("1 problem")
        one.put("bad.yaml", pod("crash", "exit 1"))
        live.until(r"pod/crash +CrashLoopBackOff +0/1")
        live.signal(signal.SIGINT)
        assert live.wait() == 130
        assert "Traceback" not in live.seen
        left = live.seen.split("\x1b[?1049l")[-1]
        assert "pod/web" in left, "the last board stays on the screen"
    assert [(row["state"], row.get("fault", "")) for row in one.containers() if row["pod"] == "web"] == [
        ("running", "")
    ]


def test_once_converges_and_leaves_it_running(one: Instance, tmp_path: Path) -> None:
    assert one.stop() == 0
    one.put("web.yaml", pod("web"))
    once = ("watch", str(one.folder), "--metrics-address", "off", "--once")
    done = one.run(*once)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert [row["state"] for row in one.containers()] == ["running"]

    one.put("crash.yaml", pod("crash", "exit 1"))
    failed = one.run(*once, "--timeout", "2s")
    assert failed.returncode == 1
    assert "not ready: pod/crash CrashLoopBackOff 0/1" in failed.stderr
    assert "web" in one.cli("ps")

    one.delete("crash.yaml")
    one.put("bad.yaml", "kind: Pod\n")
    broken = one.run(*once)
    assert broken.returncode == 1
    assert "not applied: bad.yaml" in broken.stderr


def test_diff_and_down_of_a_path(one: Instance, tmp_path: Path) -> None:
    one.put("web.yaml", pod("web"))
    one.put("keep.yaml", pod("keep"))
    one.until(lambda: one.ready("web") and one.ready("keep"))
    assert one.run("diff", str(one.folder)).returncode == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "web.yaml").write_text(pod("web", "exec sleep 5"))
    changed = one.run("diff", str(other))
    assert changed.returncode == 1
    assert "~ Pod/default/web" in changed.stdout
    assert "spec.containers[0].command[2]: exec sleep 1000000 -> exec sleep 5" in changed.stdout
    assert one.stop() == 0
    assert one.cli("down", str(other)) == "removed Pod/default/web\n"
    assert [row["pod"] for row in one.containers()] == ["keep"]
