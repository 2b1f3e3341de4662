"""`make bench`: every budget of the project beside the floor, measured in this run on this machine.

Absolute times say something about the machine; the ratio to the floor says something about us.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console

from tests.bench.floor import Floor
from tests.bench.images import bench_images
from tests.bench.ours import Ours
from tests.bench.peers import Compose, Podman, Unavailable
from tests.bench.stamps import Stamps
from tests.bench.table import Row, amount, render

PARTS = ("pods", "images", "noop")
REPEATS = {1: 7, 10: 3, 50: 3}  # once for more
PEER_REPEATS = {1: 3}
TIMEOUT_SECONDS = 240.0
IDLE_SECONDS = 30.0
IDLE_PODS = 50
START_BUDGETS = {1: 2.5, 50: 1.5}


class Subject(Protocol):
    """Something that starts N containers."""

    name: str

    def prepare(self, count: int) -> None: ...
    def start(self) -> float: ...
    def remove(self) -> None: ...


def start_seconds(subject: Subject, stamps: Stamps, count: int, repeats: int) -> float:
    """From the order to the last process that runs; the median of `repeats`."""
    took = []
    for _ in range(repeats):
        subject.prepare(count)
        try:
            began = subject.start()
            took.append(stamps.last(count, TIMEOUT_SECONDS) - began)
        finally:
            subject.remove()
    return statistics.median(took)


def crash_seconds(ours: Ours, stamps: Stamps, samples: int) -> float:
    """From a main process killed to the next one running; each container is killed once."""
    ours.prepare(samples)
    ours.start()
    stamps.last(samples, TIMEOUT_SECONDS)
    took = []
    for container in _running(ours, samples):
        stamps.clear()
        began = time.time()
        os.kill(container["pid"], signal.SIGKILL)
        took.append(stamps.last(1, TIMEOUT_SECONDS) - began)
        time.sleep(0.2)
    ours.remove()
    return statistics.median(took)


def replace_seconds(ours: Ours, stamps: Stamps, samples: int) -> float:
    """From another version renamed over the manifest to its process running; the old one ends on TERM."""
    ours.prepare(1)
    ours.start()
    stamps.last(1, TIMEOUT_SECONDS)
    took = []
    for version in range(2, 2 + samples):
        _running(ours, 1)
        stamps.clear()
        ours.prepare(1, version)
        began = ours.start()
        took.append(stamps.last(1, TIMEOUT_SECONDS) - began)
    ours.remove()
    return statistics.median(took)


def delete_seconds(ours: Ours, stamps: Stamps, samples: int) -> float:
    """From the manifest renamed away to no process, mount or link of it left; it ends on TERM."""
    took = []
    for _ in range(samples):
        before = _traces(ours)
        ours.prepare(1)
        ours.start()
        stamps.last(1, TIMEOUT_SECONDS)
        (container,) = _running(ours, 1)
        processes = {container["pid"], *ours.processes()} - {ours.pid}
        began = ours.take_away()
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while _traces(ours) - before or any(_alive(pid) for pid in processes):
            if time.monotonic() > deadline:
                raise TimeoutError(f"left: {sorted(_traces(ours) - before)}")
            time.sleep(0.001)
        took.append(time.time() - began)
        ours.remove()
    return statistics.median(took)


def _running(ours: Ours, count: int) -> list[dict[str, int]]:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while len(rows := [row for row in ours.containers() if row["state"] == "running"]) != count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(rows)} of {count} containers run")
        time.sleep(0.02)
    return rows


def _traces(ours: Ours) -> set[str]:
    with open("/proc/self/mountinfo") as mounts:
        found = {line.split()[4] for line in mounts if f" {ours.work}/" in line}
    return found | {name for name in os.listdir("/sys/class/net") if ours.instance in name}


def _alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def idle(ours: Ours, stamps: Stamps) -> tuple[float, float, float]:
    """With 50 pods and nothing to do: percent of a core, MiB of PSS, seconds of `reconciler ps`."""
    ours.prepare(IDLE_PODS)
    ours.start()
    stamps.last(IDLE_PODS, TIMEOUT_SECONDS)
    _running(ours, IDLE_PODS)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        ours.verb("ps")
        took.append(time.perf_counter() - began)
    time.sleep(3)
    processes = ours.processes()
    before, began = sum(map(_cpu_seconds, processes)), time.monotonic()
    time.sleep(IDLE_SECONDS)
    spent = sum(map(_cpu_seconds, processes)) - before
    percent = 100 * spent / (time.monotonic() - began)
    pss = sum(map(_pss_bytes, processes)) / 2**20
    ours.remove()
    return percent, pss, statistics.median(took)


def _cpu_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def bench_pods(
    work: Path, archive: Path, rootfs: Path, sizes: Sequence[int], say: Console, *, with_peers: bool
) -> Iterator[Row]:
    """Starting, restarting, replacing and removing, and a daemon that has nothing to do."""
    stamps = Stamps(work / "stamps")
    floor = Floor(work / "floor", rootfs, stamps)
    ours = Ours(work / "ours", stamps)
    peers = [_peer(kind, work, stamps, archive, sizes, say) for kind in (Compose, Podman)] if with_peers else []
    with ours.running(archive):
        floors = {}
        for count in sizes:
            repeats = REPEATS.get(count, 1)
            floors[count] = low = start_seconds(floor, stamps, count, repeats)
            budget = START_BUDGETS.get(count)
            yield Row(
                f"{count} pod{'s' if count > 1 else ''} renamed in -> running",
                start_seconds(ours, stamps, count, repeats),
                floor=low,
                most=budget * low if budget else None,
                peers=tuple(peer.get(count) for peer in peers),
            )
        one = floors[min(floors)]
        yield Row("main process killed -> running again", crash_seconds(ours, stamps, 5), one, 2.5 * one)
        yield Row("manifest replaced -> new one running", replace_seconds(ours, stamps, 5), one, 3 * one)
        yield Row("manifest deleted -> all gone", delete_seconds(ours, stamps, 5), None, 0.05)
        percent, pss, ps_seconds = idle(ours, stamps)
        yield Row("`reconciler ps`, 50 pods", ps_seconds, None, 0.2)
        yield Row("idle with 50 pods: CPU", percent, None, 0.5, unit="% of a core")
        yield Row("idle with 50 pods: memory", pss, None, 110, unit="MiB PSS")


def bench_noop() -> Iterator[Row]:
    """What a pass over everything costs when there is nothing to do."""
    from tests.bench.noop import cpu_seconds

    yield Row("CPU of a no-op pass, 1,000 pods", cpu_seconds(1000, 1000), None, 0.1)
    yield Row("CPU of a no-op pass, 10,000 objects", cpu_seconds(5000, 5000), None, 1.0)


def _peer(
    kind: type[Compose] | type[Podman], work: Path, stamps: Stamps, archive: Path, sizes: Sequence[int], say: Console
) -> dict[int, float]:
    """Seconds by number of pods; empty when it does not work here."""
    took: dict[int, float] = {}
    try:
        peer = kind(work / kind.__name__.lower(), stamps)
        with peer.running(archive):
            for count in sizes:
                took[count] = start_seconds(peer, stamps, count, PEER_REPEATS.get(count, 1))
    except (Unavailable, TimeoutError) as error:
        say.print(f"{kind.name}: not measured: {error}", style="dim", highlight=False)
    return took


def root_filesystem(work: Path) -> tuple[Path, Path]:
    """Busybox and its names, as a directory and as a tarball."""
    root, archive = work / "rootfs", work / "rootfs.tar"
    for name in ("bin", "dev", "proc", "stamps", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin" / "busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return root, archive


def bench(options: argparse.Namespace, work: Path, say: Console) -> Iterator[Row]:
    """Measure, and yield a row as soon as it is known."""
    rootfs, archive = root_filesystem(work)
    with_peers = not options.no_peers
    if "pods" in options.only:
        sizes = [int(size) for size in options.sizes.split(",")]
        yield from bench_pods(work / "pods", archive, rootfs, sizes, say, with_peers=with_peers)
    if "images" in options.only:
        yield from bench_images(work / "images", archive, say, with_peers=with_peers)
    if "noop" in options.only:
        yield from bench_noop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="this part; may be repeated (default: all of them)"
    )
    parser.add_argument("--sizes", default="1,10,50,200", help="numbers of pods (default %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="leave docker and podman out")
    options = parser.parse_args()
    options.only = options.only or PARTS
    console = Console(width=None if sys.stdout.isatty() else 140)
    if os.geteuid() != 0:
        sys.exit("the bench needs root: mounts, network namespaces and cgroups")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is ended tidies up too
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder, contextlib.suppress(KeyboardInterrupt):
        for row in bench(options, Path(folder), console):
            console.print(f"{row.what}: {amount(row.ours, row.unit)}", style="dim", highlight=False)
            rows.append(row)
    console.print()
    console.print(render(rows, [] if options.no_peers else ["docker", "podman"]))


if __name__ == "__main__":
    main()
