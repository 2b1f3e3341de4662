"""The reconciler as a subject: a real `reconciler watch` over a folder, with directories of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from reconciler.api.client import OWN, Client
from reconciler.errors import ReconcilerError
from tests.bench.stamps import COMMAND, MOUNTED_AT, Stamps

PROGRAM = Path(sys.executable).with_name("reconciler")
IMAGE = "localhost/bench:1"
BOOT_TIMEOUT_SECONDS = 30.0


class Ours:
    """One daemon. `start` puts one manifest with N pods into its folder, by rename."""

    name = "reconciler"

    def __init__(self, work: Path, stamps: Stamps) -> None:
        self._stamps = stamps
        self._folder = work / "manifests"
        self._outside = work / "outside"
        self._log = work / "watch.log"
        self._options = ["--state-dir", str(work / "state"), "--run-dir", str(work / "run")]
        self._client = Client(work / "run" / "api.sock")
        self._daemon: subprocess.Popen[bytes] | None = None
        self.work = work
        self.instance = ""  # the id that its links carry
        for path in (self._folder, self._outside):
            path.mkdir(parents=True)
        # with this file in it the folder is meant to be empty, and not an unmounted disk
        (self._folder / "empty.yaml").write_text("# nothing\n")

    @contextmanager
    def running(self, archive: Path) -> Iterator[None]:
        """The daemon, with the image in its store; all is removed afterwards."""
        command = [str(PROGRAM), *self._options, "watch", str(self._folder), "--metrics-address", "off"]
        try:
            self.verb("import", str(archive), IMAGE)
            with self._log.open("wb") as log:
                self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self._until_it_answers()
            with contextlib.closing(sqlite3.connect(self.work / "state" / "engine.db")) as db:
                (self.instance,) = db.execute("SELECT value FROM settings WHERE key = 'instance'").fetchone()
            yield
        finally:
            if self._daemon is not None:
                self._daemon.send_signal(signal.SIGTERM)
                self._daemon.wait(timeout=30)
            self.verb("down")

    def _until_it_answers(self) -> None:
        assert self._daemon is not None
        deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
        while True:
            try:
                self._client.get(f"{OWN}/status")
                return
            except ReconcilerError as error:
                if self._daemon.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the daemon does not answer: {self._log.read_text()[-2000:]}") from error
            time.sleep(0.02)

    def verb(self, *arguments: str) -> str:
        """Run the program; its output. Raises CalledProcessError."""
        command = [str(PROGRAM), *self._options, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout

    def prepare(self, count: int, version: int = 1) -> None:
        pods = [self._pod(i, version) for i in range(count)]
        (self._outside / "pods.yaml").write_text(yaml.safe_dump_all(pods))

    def _pod(self, i: int, version: int) -> dict[str, Any]:
        container = {
            "name": "main",
            "image": IMAGE,
            "command": list(COMMAND),
            "env": [{"name": "VERSION", "value": str(version)}],
            "volumeMounts": [{"name": "stamps", "mountPath": MOUNTED_AT}],
        }
        volume = {"name": "stamps", "hostPath": {"path": str(self._stamps.path), "type": "Directory"}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{i}"},
            "spec": {"containers": [container], "volumes": [volume]},
        }

    def start(self) -> float:
        """Rename what was prepared into the folder; returns when."""
        began = time.time()
        os.rename(self._outside / "pods.yaml", self._folder / "pods.yaml")
        return began

    def take_away(self) -> float:
        """Rename the manifest out of the folder; returns when."""
        began = time.time()
        os.rename(self._folder / "pods.yaml", self._outside / "pods.yaml")
        return began

    def remove(self) -> None:
        """Take the manifest away and wait until nothing of its pods is left."""
        if (self._folder / "pods.yaml").exists():
            self.take_away()
        deadline = time.monotonic() + 60
        while self.containers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not removed: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)
        self._stamps.clear()

    def containers(self) -> list[dict[str, Any]]:
        """What `reconciler ps` shows."""
        rows = self._client.get(f"{OWN}/containers")
        assert isinstance(rows, list)
        return rows

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self._daemon is not None
        return self._daemon.pid

    def processes(self) -> list[int]:
        """The daemon and all that it started on the host: monitors, name servers. Not the containers' own."""
        mine = str(self.work).encode()
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mine in Path(entry.path, "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found
