"""The floor: a bare parallel loop that does mount + netns + veth + `runc run`, and nothing else.

No image store, no bridge, no monitor, no limits, no ledger. What can be made beforehand (the
root filesystem, the bundles) is made before the clock starts. Nothing that runs containers
in a network of their own with runc can be faster by much; all budgets are ratios to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from tests.bench.stamps import COMMAND, MOUNTED_AT, Stamps

CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MNT_DETACH = 2
PARALLEL = 2 * (os.cpu_count() or 1)

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    arguments = (source.encode(), str(target).encode(), kind.encode(), flags, data.encode())
    _checked(_libc.mount(*arguments), f"mount {target}")


def unmount(target: Path) -> None:
    _checked(_libc.umount2(str(target).encode(), MNT_DETACH), f"umount {target}")


class Floor:
    """N containers made by hand. `start`, then read the stamps, then `remove`."""

    name = "floor"

    def __init__(self, work: Path, rootfs: Path, stamps: Stamps) -> None:
        self._work = work
        self._rootfs = rootfs
        self._stamps = stamps
        self._runc_root = work / "runc"
        self._count = 0
        self.prefix = f"rbf{secrets.token_hex(3)}"  # of links, cgroups and containers: two may run at once
        work.mkdir(parents=True)
        spec = subprocess.run(["runc", "spec", "--bundle", work], check=True, capture_output=True)
        assert spec.returncode == 0
        self._spec = json.loads((work / "config.json").read_text())

    def prepare(self, count: int) -> None:
        """What is not measured: directories and bundles."""
        self._count = count
        for i in range(count):
            here = self._work / str(i)
            for name in ("upper", "work", "rootfs"):
                (here / name).mkdir(parents=True)
            (here / "netns").touch()
            (here / "config.json").write_text(json.dumps(self._bundle(i)))

    def _bundle(self, i: int) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(json.dumps(self._spec))
        spec["hostname"] = f"floor-{i}"
        spec["process"] |= {"terminal": False, "args": list(COMMAND)}
        spec["process"]["env"] = ["PATH=/bin", f"HOSTNAME=floor-{i}"]
        spec["root"] = {"path": "rootfs", "readonly": False}
        bind = {"destination": MOUNTED_AT, "type": "bind", "source": str(self._stamps.path), "options": ["rbind", "rw"]}
        spec["mounts"].append(bind)
        spec["linux"]["cgroupsPath"] = f"/{self.prefix}/{i}"
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = str(self._work / str(i) / "netns")
        return spec

    def start(self) -> float:
        """Start all that was prepared; returns when it began. Raises CalledProcessError, OSError."""
        began = time.time()
        with ThreadPoolExecutor(PARALLEL) as pool:
            for _ in pool.map(self._one, range(self._count)):
                pass
        return began

    def _one(self, i: int) -> None:
        here = self._work / str(i)
        layers = f"lowerdir={self._rootfs},upperdir={here / 'upper'},workdir={here / 'work'}"
        mount("overlay", here / "rootfs", "overlay", 0, layers)
        _in_a_thread_of_its_own(lambda: self._network(i, here / "netns"))
        subprocess.run(
            ["runc", "--root", str(self._runc_root), "run", "--detach", "--bundle", str(here), f"{self.prefix}-{i}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a pipe would stay open as long as the container
            check=True,
        )

    def _network(self, i: int, netns: Path) -> None:
        host = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _checked(_libc.unshare(CLONE_NEWNET), "unshare")
            mount("/proc/thread-self/ns/net", netns, "", MS_BIND, "")
            with IPRoute() as ip:
                ip.link("add", ifname="eth0", kind="veth", peer={"ifname": f"{self.prefix}{i}", "net_ns_fd": host})
                (eth0,) = ip.link_lookup(ifname="eth0")
                ip.addr("add", index=eth0, address=f"192.0.{i // 250}.{i % 250 + 2}", prefixlen=16)
                ip.link("set", index=eth0, state="up")
                ip.link("set", index=1, state="up")
                ip.route("add", gateway="192.0.0.1")
        finally:
            os.close(host)

    def remove(self) -> None:
        with ThreadPoolExecutor(4 * PARALLEL) as pool:  # `runc delete` mostly sleeps
            list(pool.map(self._remove_one, range(self._count)))
        self._count = 0
        self._stamps.clear()
        while any(name.startswith(self.prefix) for name in os.listdir("/sys/class/net")):
            time.sleep(0.01)  # the kernel takes a dead namespace apart in its own time
        for cgroup in Path("/sys/fs/cgroup").glob(f"**/{self.prefix}"):
            cgroup.rmdir()

    def _remove_one(self, i: int) -> None:
        here = self._work / str(i)
        delete = ["runc", "--root", str(self._runc_root), "delete", "--force", f"{self.prefix}-{i}"]
        subprocess.run(delete, stdin=subprocess.DEVNULL, capture_output=True)
        for target in (here / "rootfs", here / "netns"):
            try:
                unmount(target)
            except OSError:
                continue  # never got so far
        shutil.rmtree(here)


def _in_a_thread_of_its_own(work: Callable[[], None]) -> None:
    """Run `work` in a thread that ends with it: it leaves its network namespace for good."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
