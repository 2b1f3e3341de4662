"""A real daemon in a process of its own, on a folder of its own, driven as a user drives it.

    with Instance(tmp_path) as one:
        one.put("web.yaml", pod("web"))
        one.until(lambda: one.phase("web") == "Running")

When it ends everything of it is taken down, and what is left on the host fails the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reconciler.api.client import OWN, Client
from tests.images import busybox_archive

T = TypeVar("T")

PROGRAM = str(Path(sys.executable).with_name("reconciler"))
IMAGE = "localhost/busybox:1"
_PATIENCE_SECONDS = 20.0


def pod(name: str, command: str = "exec sleep 1000000", *, image: str = IMAGE, **spec: Any) -> str:
    """The manifest of a pod with one container, `main`, that runs a shell command. JSON is YAML."""
    container = {"name": "main", "image": image, "command": ["/bin/sh", "-c", command]}
    container |= spec.pop("container", {})
    body = {"terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body})


def deployment(name: str, replicas: int, command: str = "exec sleep 1000000", **spec: Any) -> str:
    """The manifest of a Deployment of such pods."""
    template = json.loads(pod(name, command, **spec))
    labels = {"app": name}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
        }
    )


class Instance:
    """One instance: its directories, its folder of manifests, and (once started) its daemon."""

    def __init__(self, base: Path, *, metrics: bool = False) -> None:
        self.base = base
        self.state_dir, self.run_dir, self.folder = base / "state", base / "run", base / "manifests"
        self.log = base / "daemon.log"
        self.daemon: subprocess.Popen[bytes] | None = None
        self.metrics_address = f"127.0.0.1:{free_port()}" if metrics else "off"
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Instance:
        try:
            self.start()
            self.load(busybox_archive(self.base / "busybox.tar", IMAGE))
        except BaseException:
            self.clean_up()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        if failure[0] is not None and os.environ.get("RECONCILER_TEST_ARTIFACTS"):
            self._keep_artifacts(Path(os.environ["RECONCILER_TEST_ARTIFACTS"]))
        left = self.clean_up()
        if failure[0] is None:
            assert not left, f"left behind: {left}"

    # The daemon

    def start(self, *arguments: str) -> None:
        """Start `reconciler watch` on the folder, and return once it answers."""
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [
                    *self._program(),
                    "watch",
                    str(self.folder),
                    "--metrics-address",
                    self.metrics_address,
                    "--resync",
                    "2s",
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.until(self._answers, "the daemon answers")

    def kill(self) -> None:
        """kill -9."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.daemon is not None
        self.daemon.terminate()
        return self.daemon.wait(timeout=_PATIENCE_SECONDS)

    # What a user does

    def put(self, name: str, content: str | bytes) -> None:
        """Rename a file into the folder."""
        hidden = self.folder / f".{name}.new"
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_bytes(content if isinstance(content, bytes) else content.encode())
        hidden.rename(self.folder / name)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink()

    def load(self, archive: Path) -> None:
        """Give the daemon the image of an archive, and delete the archive."""
        list(self.api.stream("POST", f"{OWN}/images/load", {"archive": str(archive)}))
        archive.unlink()

    def run(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a verb, whatever comes of it."""
        given = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(
            [*self._program(), *arguments], capture_output=True, text=True, timeout=120, check=False, **given
        )

    def cli(self, *arguments: str) -> str:
        """Run a verb that must succeed; returns what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"reconciler {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """`reconciler get ... -o json`."""
        return json.loads(self.cli("get", *arguments, "-o", "json"))

    # What is; asked of the daemon itself, which is much less work than to start a program each time

    @property
    def api(self) -> Client:
        return Client(self.run_dir / "api.sock")

    def objects(self, kind: str) -> list[Any]:
        """The objects of a core kind in all namespaces, whether a daemon runs or not."""
        asked = self.api.get(f"/api/v1/{kind}") if self._runs() else self.get(kind, "-A")
        items: list[Any] = asked["items"]
        return items

    def pods(self) -> dict[str, Any]:
        return {item["metadata"]["name"]: item for item in self.objects("pods")}

    def phase(self, name: str) -> str:
        return str(self.pods().get(name, {}).get("status", {}).get("phase", ""))

    def ready(self, name: str) -> bool:
        """Whether the pod is ready as it is declared now."""
        item = self.pods().get(name, {"metadata": {}, "status": {}})
        seen = item["status"].get("observedGeneration") == item["metadata"].get("generation")
        conditions = item["status"].get("conditions", [])
        return seen and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def container(self, name: str, container: str = "main") -> Any:
        """The container's status."""
        statuses = self.pods()[name]["status"]["containerStatuses"]
        return next(status for status in statuses if status["name"] == container)

    def waiting(self, name: str) -> str:
        """The reason for which the pod's container waits, or ""."""
        if "containerStatuses" not in self.pods().get(name, {}).get("status", {}):
            return ""
        return str(self.container(name)["state"].get("waiting", {}).get("reason", ""))

    def id(self, name: str) -> str:
        """Of the pod's container."""
        return str(self.container(name)["containerID"]).removeprefix("reconciler://")

    def pid(self, name: str) -> int:
        """Of the first process of the pod's container."""
        identity = self.id(name)
        return next(int(row["pid"]) for row in self.containers() if row["id"] == identity)

    def containers(self) -> list[dict[str, Any]]:
        """The rows of `ps -a`."""
        asked = self.api.get(f"{OWN}/containers") if self._runs() else json.loads(self.cli("ps", "-a", "-o", "json"))
        rows: list[dict[str, Any]] = asked
        return rows

    def problems(self) -> list[dict[str, Any]]:
        """What the daemon has against the folder: {file, line, field, message, severity}."""
        found: list[dict[str, Any]] = self.api.get(f"{OWN}/problems")
        return found

    def events(self, name: str) -> dict[str, str]:
        """Reason to message of what happened to an object."""
        items = self.objects("events")
        return {item["reason"]: item["message"] for item in items if item["involvedObject"]["name"] == name}

    def metric(self, line: str) -> float:
        """The value of one sample, named as it is exposed: `name{label="value"}`."""
        text = urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=5).read().decode()
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(f"{line} ")), 0.0)

    def daemon_log(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, holds: Callable[[], T], what: str = "", seconds: float = _PATIENCE_SECONDS) -> T:
        """Wait for a condition; what it returned last when it came true."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(KeyError, StopIteration):  # what is asked about is not there yet
                if result := holds():
                    return result
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {seconds:g} s: {what or 'the condition'}\n{self.daemon_log()[-3000:]}"
                )
            time.sleep(0.02)

    def steady(self, holds: Callable[[], bool], seconds: float) -> None:
        """Assert that a condition keeps holding."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert holds(), self.daemon_log()[-3000:]
            time.sleep(0.05)

    # The end

    def clean_up(self) -> list[str]:
        """Take everything down; returns what is left of it on the host."""
        down = self.run("down")
        left = [] if down.returncode == 0 else [f"`reconciler down` failed: {down.stderr}"]
        if self.daemon is not None:
            try:
                self.daemon.wait(timeout=0 if left else _PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                left.append("the daemon, which does not end after `reconciler down`")
                self.kill()
        left += self.leftovers()
        for mount in reversed(list(self._mounts())):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        shutil.rmtree(self.base, ignore_errors=True)
        return left

    def instance_id(self) -> str:
        with contextlib.closing(sqlite3.connect(f"file:{self.state_dir}/engine.db?mode=ro", uri=True)) as db:
            return str(db.execute("SELECT value FROM settings WHERE key = 'instance'").fetchone()[0])

    def leftovers(self) -> Iterator[str]:
        """What there is of this instance outside its two directories, and in them of containers."""
        identity = self.instance_id() if (self.state_dir / "engine.db").exists() else None
        yield from (f"mount {mount}" for mount in self._mounts())
        yield from (f"process {pid}: {command}" for pid, command in self._processes())
        for folder in ("containers", "sandboxes"):
            path = self.state_dir / folder
            yield from (f"directory {entry}" for entry in path.iterdir()) if path.exists() else ()
        if identity is None:
            return
        yield from (f"link {name}" for name in os.listdir("/sys/class/net") if identity in name)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        yield from (f"nft {line}" for line in tables.splitlines() if identity in line)
        for root, names, _ in os.walk("/sys/fs/cgroup"):
            yield from (f"cgroup {root}/{name}" for name in names if identity in name)

    def _mounts(self) -> Iterator[str]:
        with open("/proc/self/mountinfo") as lines:
            mounts = [line.split()[4] for line in lines]
        yield from (mount for mount in mounts if mount.startswith(f"{self.base}/"))

    def _processes(self) -> Iterator[tuple[int, str]]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if f"{self.base}/" in command:
                        yield int(entry.name), command

    def _program(self) -> Sequence[str]:
        return [PROGRAM, "--state-dir", str(self.state_dir), "--run-dir", str(self.run_dir)]

    def _runs(self) -> bool:
        return self.daemon is not None and self.daemon.poll() is None

    def _answers(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, f"the daemon ended: {self.daemon_log()[-3000:]}"
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.run_dir / "api.sock"))
            except OSError:
                return False
        return True

    def _keep_artifacts(self, into: Path) -> None:
        into = into / self.base.name
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.log, into / "daemon.log")
        for verb in (("get", "all", "-A"), ("events", "-A"), ("ps", "-a")):
            (into / f"{verb[0]}.txt").write_text(self.run(*verb).stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cgroup_of(pid: int, controller: str) -> Path:
    """The directory of a process's cgroup, wherever this host mounts it."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup "):
            for name in kind.split()[-1].split(","):
                mounts[name] = fields.split()[4]
        elif kind.startswith("cgroup2 "):
            mounts[""] = fields.split()[4]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") or (not names and controller not in mounts):
            return Path(mounts[controller if names else ""] + path)
    raise AssertionError(f"no cgroup of {pid} for {controller}")
