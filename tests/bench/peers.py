"""docker compose and podman as subjects, where the host has them.

Each runs with directories of its own in a network and mount namespace of its own, so that
neither the host's engine nor its firewall is touched, and nothing is left when it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.bench.stamps import COMMAND, MOUNTED_AT, Stamps

IMAGE = "localhost/bench:1"
CGROUP = "reconciler-bench"
# a namespace of its own has no loopback until somebody brings it up
ALONE = ("unshare", "--net", "--mount", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


class Unavailable(Exception):
    """Not on this host, or does not work here. Says why, in a few words."""


def run(command: list[str], **more: object) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise Unavailable((done.stderr or done.stdout).strip().splitlines()[-1][:120] or f"exit {done.returncode}")


def _remove_cgroups(name: str) -> None:
    """Remove the empty cgroups below `name`, and itself."""
    for parent in Path("/sys/fs/cgroup").glob(f"**/{name}"):
        for path, _, _ in os.walk(parent, topdown=False):
            os.rmdir(path)


@contextmanager
def dockerd(work: Path, enter: Sequence[str], *options: str) -> Iterator[Mapping[str, str]]:
    """A daemon with all it has below `work`, started by the command `enter`. Yields the environment that finds it."""
    environment = {**os.environ, "DOCKER_HOST": f"unix://{work}/docker.sock"}
    places = [f"--data-root={work}/data", f"--exec-root={work}/exec", f"--pidfile={work}/pid"]
    places += [f"--cgroup-parent=/{CGROUP}", f"--host=unix://{work}/docker.sock"]
    with (work / "log").open("wb") as log:
        command = [*enter, "dockerd", *places, *options]
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(["docker", "info"], env=environment, capture_output=True).returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise Unavailable("dockerd does not start here")
            time.sleep(0.2)
        yield environment
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)
        _remove_cgroups(CGROUP)


class Compose:
    """`docker compose up -d` of one service with N replicas, on a dockerd of its own."""

    name = "docker compose"

    def __init__(self, work: Path, stamps: Stamps) -> None:
        if not shutil.which("dockerd") or not shutil.which("docker"):
            raise Unavailable("docker is not installed")
        self._work = work
        self._stamps = stamps
        self._environment: Mapping[str, str] = {}
        for compose in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(compose[0]) and subprocess.run([*compose, "version"], capture_output=True).returncode == 0:
                self._compose = compose
                break
        else:
            raise Unavailable("docker has no compose plugin")
        work.mkdir(parents=True)

    @contextmanager
    def running(self, archive: Path) -> Iterator[None]:
        with dockerd(self._work, ALONE) as self._environment:
            run(["docker", "import", str(archive), IMAGE], env=self._environment)
            yield

    def prepare(self, count: int) -> None:
        service = {
            "image": IMAGE,
            "command": [part.replace("$", "$$") for part in COMMAND],
            "volumes": [f"{self._stamps.path}:{MOUNTED_AT}"],
            "deploy": {"replicas": count},
            "stop_grace_period": "1s",
        }
        (self._work / "compose.yaml").write_text(yaml.safe_dump({"name": "bench", "services": {"pod": service}}))

    def start(self) -> float:
        began = time.time()
        run([*self._compose, "up", "-d"], cwd=self._work, env=self._environment)
        return began

    def remove(self) -> None:
        run([*self._compose, "down", "-t", "1"], cwd=self._work, env=self._environment)
        self._stamps.clear()


class Podman:
    """`podman kube play` of one file with N pods."""

    name = "podman kube play"

    def __init__(self, work: Path, stamps: Stamps) -> None:
        if not shutil.which("podman"):
            raise Unavailable("podman is not installed")
        self._work = work
        self._stamps = stamps
        self._keeper: subprocess.Popen[bytes] | None = None
        work.mkdir(parents=True)

    @contextmanager
    def running(self, archive: Path) -> Iterator[None]:
        self._keeper = subprocess.Popen([*ALONE, "sleep", "infinity"], stdin=subprocess.DEVNULL)
        try:
            time.sleep(0.2)
            run([*self._podman(), "import", str(archive), IMAGE])
            yield
        finally:
            reset = [*self._podman(), "system", "reset", "--force"]
            subprocess.run(reset, stdin=subprocess.DEVNULL, capture_output=True)
            self._keeper.kill()
            self._keeper.wait()
            _remove_cgroups("libpod_parent")

    def _podman(self) -> list[str]:
        assert self._keeper is not None
        enter = ["nsenter", f"--net=/proc/{self._keeper.pid}/ns/net", f"--mount=/proc/{self._keeper.pid}/ns/mnt", "--"]
        places = [f"--root={self._work}/root", f"--runroot={self._work}/run", f"--tmpdir={self._work}/tmp"]
        return [*enter, "podman", *places, "--cgroup-manager=cgroupfs", "--events-backend=file"]

    def prepare(self, count: int) -> None:
        pods = []
        for i in range(count):
            container = {
                "name": "main",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "command": list(COMMAND),
                "volumeMounts": [{"name": "stamps", "mountPath": MOUNTED_AT}],
            }
            volume = {"name": "stamps", "hostPath": {"path": str(self._stamps.path), "type": "Directory"}}
            pods.append(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": f"pod-{i}"},
                    "spec": {"containers": [container], "volumes": [volume]},
                }
            )
        (self._work / "pods.yaml").write_text("---\n".join(json.dumps(pod) + "\n" for pod in pods))

    def start(self) -> float:
        began = time.time()
        run([*self._podman(), "kube", "play", f"{self._work}/pods.yaml"])
        return began

    def remove(self) -> None:
        run([*self._podman(), "pod", "rm", "--all", "--force", "--time", "0"])
        self._stamps.clear()
