"""A full disk: said so, nothing lost, what ran goes on, and all converges when there is room again."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.api.client import OWN
from reconciler.errors import ReconcilerError
from tests.e2e.instance import Instance, pod
from tests.images import busybox_archive


@contextmanager
def small_disk(where: Path) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as e:
                assert e.errno == errno.ENOSPC


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        one = Instance(tmp_path / "one")
        one.state_dir = disk / "state"
        with one:
            one.put("web.yaml", pod("web", "exec sleep 1000000"))
            one.until(lambda: one.ready("web"))
            first, pid = one.id("web"), one.pid("web")
            fill(disk / "filler")

            archive = busybox_archive(one.base / "more.tar", "localhost/more:1", files={"x": b"x" * 100_000})
            with pytest.raises(ReconcilerError, match="no space left") as refused:
                list(one.api.stream("POST", f"{OWN}/images/load", {"archive": str(archive)}))
            assert refused.value.reason == "NoSpace"
            one.put("later.yaml", pod("later"))
            config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v" * 5000}}
            one.put("config.json", str(config).replace("'", '"'))
            one.until(lambda: "NoSpace" in one.daemon_log() and "Failed" in " ".join(one.events("later")))
            assert any("no space left" in message for message in one.events("later").values())
            assert one.pods()["web"]["status"]["phase"] == "Running"
            assert (one.id("web"), one.pid("web")) == (first, pid)
            assert "Traceback" not in one.daemon_log()

            (disk / "filler").unlink()
            one.until(lambda: one.ready("later"), "there is room again")
            one.load(archive)
            fill(disk / "filler")
            one.delete("later.yaml")
            one.until(lambda: "later" not in one.pods(), "what makes room goes without room")
            fill(disk / "filler")
            one.kill()
            one.start()
            one.until(lambda: one.ready("web"), "started on a full disk")
            assert (one.id("web"), one.pid("web")) == (first, pid)
            one.put("other.yaml", pod("other", image="localhost/more:1"))
            one.until(lambda: any("no space left" in message for message in one.events("other").values()))
            (disk / "filler").unlink()
            one.until(lambda: one.ready("other"))
            assert (one.id("web"), one.pid("web")) == (first, pid)
            assert all(one.container(name)["restartCount"] == 0 for name in one.pods())
            assert "Traceback" not in one.daemon_log()
