"""The OCI runtime (crun or runc) under its monitor (conmon): the one place that starts either.

conmon holds a container's stdio, writes its log and its exit code, and outlives us. The state
of a container is read from the kernel and from files, never by asking the runtime: a program costs
milliseconds. Removing needs no runtime either; what it keeps is a directory, and the rest is a cgroup.

Everything here blocks, and runs in the launcher's threads.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import HostError, ReconcilerError, TerminalError, TransientError
from reconciler.runtimes.native import kernel

_CALL_SECONDS = 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Program:
    """A runtime that works here. `hidden` is the mount that it must not see, or ""."""

    path: str
    hidden: str = ""

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the host: its id alone may come to name another one."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Created:
    """A container that waits to be started, and its monitor."""

    process: Process
    monitor: Process


class Oci:
    """The containers of one instance, as the OCI runtime knows them."""

    def __init__(self, program: Program, conmon: str, run_dir: Path) -> None:
        self.program = program
        self._conmon = conmon
        self._root = run_dir / "oci"
        self._exits = run_dir / "exits"
        self._filters = _Filters(self.program.name == "crun")
        self._monitors: dict[int, subprocess.Popen[bytes]] = {}
        for directory in (self._root, self._exits):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(
        self, id: str, bundle: Path, spec: dict[str, Any], log: Path, *, stdin: bool, stdin_once: bool
    ) -> Created:
        """Make the container of an OCI spec in the directory `bundle`, not started.

        Raises: TerminalError(reason="CreateContainerError") with the runtime's words, TransientError, OSError.
        """
        profile = self._filters.annotate(spec)
        with open(bundle / "config.json", "w", opener=_private) as file:
            file.write(json.dumps(spec, separators=(",", ":")))
        read, write = os.pipe()
        flags = [*(["-t"] if spec["process"]["terminal"] else []), *(["-i"] if stdin else [])]
        flags += ["--leave-stdin-open"] if stdin and not stdin_once else []
        command = [
            *(self._conmon, "--sync", "-r", self.program.path, "-b", str(bundle), "-c", id, "-u", id, "-n", id),
            *("--runtime-arg", "--root", "--runtime-arg", str(self._root)),
            *("-p", str(bundle / "pid"), "--exit-dir", str(self._exits), "--persist-dir", str(bundle)),
            *("-l", f"k8s-file:{log}", "--log-level", "error", "--no-sync-log", "--full-attach", *flags),
        ]
        try:
            with open(bundle / "monitor.log", "wb") as errors:
                monitor = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=(write,),
                    env={"PATH": _PATH, "_OCI_SYNCPIPE": str(write)},
                    cwd=bundle,
                    start_new_session=True,
                )
            os.close(write)
            write = -1
            self._monitors[monitor.pid] = monitor
            started = kernel.process_started(monitor.pid) or 0
            report = _line(read, time.monotonic() + _CALL_SECONDS)
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)
            if self.program.hidden:  # what crun made where it took cgroup version 2 to be
                shutil.rmtree(f"{self.program.hidden}{spec['linux']['cgroupsPath']}", ignore_errors=True)
        pid, words = _report(report)
        born = kernel.process_started(pid) if pid > 0 else None
        if born is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(monitor.pid, signal.SIGKILL)
            self.reap(monitor.pid, wait=True)
            raise failure(words or _tail(bundle / "monitor.log"), "CreateContainerError")
        self._filters.learn(profile, self._root / id)
        return Created(Process(pid, born), Process(monitor.pid, started))

    def start(self, id: str) -> None:
        """Let the process of a created container run. Idempotent.

        Raises: TerminalError(reason="RunContainerError") with the runtime's words.
        """
        if not self.waits(id):
            return
        words = call(self.command("start", id))
        if words:
            raise failure(words, "RunContainerError")

    def waits(self, id: str) -> bool:
        """Whether the container is created and not started: both runtimes keep a fifo until then."""
        return os.path.exists(self._root / id / "exec.fifo")

    def known(self, id: str) -> bool:
        """Whether the runtime still has the container: somebody may have deleted it."""
        return os.path.exists(self._root / id)

    def ids(self) -> set[str]:
        """The containers that the runtime has."""
        return {entry.name for entry in os.scandir(self._root)}

    def exit_ids(self) -> set[str]:
        """The containers that have an exit file."""
        return {entry.name.split(".")[0] for entry in os.scandir(self._exits)}

    def exit(self, id: str) -> tuple[int, float] | None:
        """(exit code, seconds since the epoch) once the monitor has written it."""
        path = self._exits / id
        try:
            return int(path.read_text()), path.stat().st_mtime
        except (FileNotFoundError, ValueError):
            return None

    def forget(self, id: str) -> None:
        """Drop what the runtime and the monitor keep of a container that has no process any more. Idempotent."""
        shutil.rmtree(self._root / id, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._exits / id)

    def reap(self, pid: int, *, wait: bool = False) -> None:
        """Collect a monitor that ended, if it is our child."""
        monitor = self._monitors.get(pid)
        if monitor is not None and (wait or monitor.poll() is not None):
            monitor.wait()
            del self._monitors[pid]

    def command(self, *arguments: str) -> list[str]:
        """The command line of a call of the runtime."""
        return [self.program.path, "--root", str(self._root), *arguments]

    def strays(self) -> Iterator[tuple[int, str]]:
        """(process, container id) of every monitor and runtime call of this instance that runs."""
        mark = os.fsencode(str(self._root))
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    with open(f"/proc/{entry.name}/cmdline", "rb") as file:
                        words = file.read().split(b"\0")
                except OSError:
                    continue
                if mark in words and int(entry.name) != os.getpid():
                    id = words[words.index(b"-c") + 1] if b"-c" in words else b""
                    yield int(entry.name), os.fsdecode(id)


class _Filters:
    """Seccomp filters that crun has compiled: it takes 20 ms for what is the same for nearly every container.

    crun leaves the compiled filter beside a container's state, and takes one by an annotation.
    """

    def __init__(self, usable: bool) -> None:
        self._usable = usable
        self._compiled: dict[str, str] = {}

    def annotate(self, spec: dict[str, Any]) -> str:
        """Put the compiled filter into the spec, if there is one; returns the profile's key, "" for no profile."""
        profile = spec["linux"].get("seccomp")
        if not self._usable or profile is None:
            return ""
        key = hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()
        if key in self._compiled:
            spec["annotations"] = {"run.oci.seccomp_bpf_data": self._compiled[key]}
        return key

    def learn(self, key: str, state: Path) -> None:
        """Keep the filter that was compiled for the profile."""
        if key and key not in self._compiled:
            with contextlib.suppress(OSError):
                self._compiled[key] = base64.b64encode((state / "seccomp.bpf").read_bytes()).decode()


def failure(words: str, reason: str) -> ReconcilerError:
    """The error of a runtime's complaint."""
    short = shorten(words)
    if "no space left" in short.lower():
        return TerminalError(short, reason="NoSpace")
    if re.search(r"resource temporarily unavailable|cannot allocate memory|timed out|interrupted", short, re.I):
        return TransientError(short, reason=reason)
    return TerminalError(short, reason=reason)


_NOISE = re.compile(
    r"""^(?:time="[^"]*"\ level=\w+\ msg=|\d{4}-\d\d-\d\dT[\d:.]+Z:\ |\[conmon:\w+\]:\ |
        (?:crun|runc|conmon|error):\ |runc\ (?:create|start|run)\ failed:\ |
        (?:unable\ to\ start\ container\ process|OCI\ runtime\ (?:create|exec)\ failed|exec\ failed
           |container_linux\.go:\d+|starting\ container\ process\ caused|error\ during\ container\ init
           |create\ container\ failed|cannot\ start\ a\ container):\ )""",
    re.X | re.I,
)
_CRUN_ABSENT = re.compile(r"executable file [`']([^`']*)[`'] not found(?: in \$PATH)?(?:: No such file or directory)?")


def shorten(words: str) -> str:
    """The runtime's own words, without what it says about itself; both runtimes alike where it matters."""
    lines = [line.strip() for line in words.replace("\0", "").splitlines() if line.strip()]
    text = lines[-1] if lines else "the runtime ended without a word"
    with contextlib.suppress(ValueError, TypeError):
        text = str(json.loads(text)["msg"])
    previous = ""
    while text != previous:
        previous, text = text, _NOISE.sub("", text.strip().strip('"').replace('\\"', '"'))
    return _CRUN_ABSENT.sub(r'exec: "\1": executable file not found in $PATH', text)[:1000]


def find(name: str, what: str) -> str:
    """The path of a program. Raises: HostError that says what to install."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PATH}")
    if path is None:
        raise HostError(f"{name} is not installed: {what}")
    return path


def call(command: Sequence[str]) -> str:
    """Run a program that keeps nothing of ours to its end; returns what it said when it failed, else ""."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        timeout=_CALL_SECONDS,
    )
    return (done.stderr.decode(errors="replace") or f"exit code {done.returncode}") if done.returncode else ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(descriptor: int, deadline: float) -> bytes:
    """What the monitor reports: one line, or less when it died."""
    found = b""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    while b"\n" not in found:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            return b'{"pid": -1, "message": "timed out"}'
        data = os.read(descriptor, 65536)
        if not data:
            break
        found += data
    return found


def _report(line: bytes) -> tuple[int, str]:
    try:
        report = json.loads(line)
        return int(report["pid"]), str(report.get("message", ""))
    except (ValueError, KeyError, TypeError):
        return -1, ""


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-4096:]
    except FileNotFoundError:
        return ""
