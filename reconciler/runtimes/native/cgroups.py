"""The cgroups of the containers: what they may use, whether they are frozen, and who is in them.

The OCI runtime makes them and sets the limits; we read them back (somebody may have changed
them by hand), put them right, and take them away with all that still runs in them. A host
has version 1 (a hierarchy for each controller), version 2 (one for all), or hybrid: version 1
for the controllers and an empty version 2 beside it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.model.sandbox import Resources

_CPU_PERIOD_MICROSECONDS = 100_000
_UNLIMITED = 1 << 60  # what version 1 shows for "no limit" is some number above this
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the hierarchies are mounted. `controllers` is version 1's; `unified` version 2's."""

    controllers: Mapping[str, str] = field(default_factory=dict)
    unified: str = ""

    @property
    def version(self) -> str:
        """ "v1", "v2" or "hybrid"."""
        if not self.controllers:
            return "v2"
        return "hybrid" if self.unified else "v1"

    def roots(self) -> tuple[str, ...]:
        """Every hierarchy once."""
        return tuple(dict.fromkeys([*self.controllers.values(), *([self.unified] if self.unified else [])]))


def parse_layout(mountinfo: str) -> Layout:
    """Read the layout from the text of /proc/self/mountinfo."""
    controllers: dict[str, str] = {}
    unified = ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        point = before.split(" ")[4]
        if kind == "cgroup2":
            unified = unified or point
        elif kind == "cgroup":
            for option in options.split(" ")[-1].split(","):
                if option not in ("rw", "ro", "xattr", "clone_children") and "release_agent" not in option:
                    controllers.setdefault(option, point)
    return Layout(controllers, unified)


def cpu_shares(request_millicores: int | None) -> int | None:
    """Version 1's weight of a CPU request. Source: kubelet MilliCPUToShares."""
    return None if request_millicores is None else max(2, request_millicores * 1024 // 1000)


def cpu_quota(limit_millicores: int | None) -> int | None:
    """Microseconds of each period. The kernel takes no less than 1000."""
    return None if limit_millicores is None else max(1000, limit_millicores * _CPU_PERIOD_MICROSECONDS // 1000)


def oci_resources(resources: Resources, *, swap_limit: bool) -> dict[str, object]:
    """The `linux.resources` of an OCI spec, without devices. Swap is not given beyond the memory limit."""
    found: dict[str, object] = {}
    cpu: dict[str, int] = {}
    shares, quota = cpu_shares(resources.cpu_request_millicores), cpu_quota(resources.cpu_limit_millicores)
    if shares is not None:
        cpu["shares"] = shares
    if quota is not None:
        cpu |= {"quota": quota, "period": _CPU_PERIOD_MICROSECONDS}
    if cpu:
        found["cpu"] = cpu
    if resources.memory_limit_bytes is not None:
        found["memory"] = {"limit": resources.memory_limit_bytes}
        if swap_limit:
            found["memory"] = {"limit": resources.memory_limit_bytes, "swap": resources.memory_limit_bytes}
    if resources.pids_limit is not None:
        found["pids"] = {"limit": resources.pids_limit}
    return found


def limits(resources: Resources, layout: Layout) -> tuple[tuple[str, str, str], ...]:
    """(controller, file, value) of every limit, the unset ones as "no limit"."""
    quota = cpu_quota(resources.cpu_limit_millicores)
    memory, pids = resources.memory_limit_bytes, resources.pids_limit
    shares = cpu_shares(resources.cpu_request_millicores)
    if layout.controllers:
        weights = () if shares is None else (("cpu", "cpu.shares", str(shares)),)
        return (
            ("memory", "memory.limit_in_bytes", str(-1 if memory is None else memory)),
            ("cpu", "cpu.cfs_quota_us", str(-1 if quota is None else quota)),
            ("pids", "pids.max", "max" if pids is None else str(pids)),
            *weights,
        )
    return (
        ("memory", "memory.max", "max" if memory is None else str(memory)),
        ("cpu", "cpu.max", f"{'max' if quota is None else quota} {_CPU_PERIOD_MICROSECONDS}"),
        ("pids", "pids.max", "max" if pids is None else str(pids)),
        # the conversion that both runtimes use
        *(() if shares is None else (("cpu", "cpu.weight", str(1 + (shares - 2) * 9999 // 262142)),)),
    )


def same_limit(declared: str, seen: str) -> bool:
    """Whether the kernel shows what was written: it rounds memory down to pages, and has its own "no limit"."""
    if declared == seen:
        return True
    values = [_number(text) for text in (declared, seen)]
    if None in values:
        return False
    a, b = (value for value in values if value is not None)
    return a >= _UNLIMITED and b >= _UNLIMITED if max(a, b) >= _UNLIMITED else a // 4096 == b // 4096 and a >= 4096


def _number(text: str) -> int | None:
    if text in ("max", "-1"):
        return _UNLIMITED
    return int(text) if text.isascii() and text.isdigit() else None


class Cgroups:
    """The cgroups of one instance: `<hierarchy>/<parent>/<container id>`."""

    def __init__(self, layout: Layout, instance: str) -> None:
        self.layout = layout
        self._parent = f"reconciler-{instance}"
        self._roots = layout.roots()

    def path(self, id: str) -> str:
        """`linux.cgroupsPath` of a container."""
        return f"/{self._parent}/{id}"

    def frozen(self, id: str) -> bool | None:
        """Whether somebody paused the container; None when its cgroup is not there."""
        if self.layout.controllers:
            state = self._read("freezer", id, "freezer.state")
            return None if state is None else state in ("FROZEN", "FREEZING")
        state = self._read("", id, "cgroup.freeze")
        return None if state is None else state == "1"

    def thaw(self, id: str) -> None:
        """Let a paused container run on."""
        if self.layout.controllers:
            self._write("freezer", id, "freezer.state", "THAWED")
        else:
            self._write("", id, "cgroup.freeze", "0")

    def drifted(self, id: str, resources: Resources) -> bool:
        """Whether a limit is not what was declared. A controller that the host lacks does not count."""
        for controller, file, value in limits(resources, self.layout):
            seen = self._read(controller, id, file)
            if seen is not None and not same_limit(value, seen):
                return True
        return False

    def restore(self, id: str, resources: Resources) -> None:
        """Write every limit again. Raises OSError."""
        for controller, file, value in limits(resources, self.layout):
            if self._read(controller, id, file) is not None:
                self._write(controller, id, file, value)

    def oom_kills(self, id: str) -> int:
        """How many processes the kernel killed for want of memory."""
        file = "memory.oom_control" if self.layout.controllers else "memory.events"
        for line in (self._read("memory", id, file) or "").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def ids(self) -> set[str]:
        """The containers that have a cgroup in any hierarchy."""
        found: set[str] = set()
        for root in self._roots:
            with contextlib.suppress(OSError), os.scandir(f"{root}/{self._parent}") as entries:
                found |= {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
        return found

    def processes(self, id: str) -> set[int]:
        """Every process in the container, of its sub-cgroups too."""
        found: set[int] = set()
        for root in self._roots:
            for directory in _tree(f"{root}/{self._parent}/{id}"):
                with contextlib.suppress(OSError), open(f"{directory}/cgroup.procs") as file:
                    found |= {int(line) for line in file}
        return found - {0}

    def kill(self, id: str) -> None:
        """End every process in the container; frozen ones too. Returns when none is left.

        Raises: TimeoutError when a process does not die (it hangs in the kernel).
        """
        deadline = time.monotonic() + _KILL_SECONDS
        pause = 0.0005
        # the kernel may list a process for a moment that nobody can find any more
        while pids := [pid for pid in self.processes(id) if _killed(pid)]:
            with contextlib.suppress(OSError):
                if self.frozen(id):
                    self.thaw(id)
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {sorted(pids)} do not die")
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    def remove(self, id: str) -> None:
        """Take the cgroups of a container away, its processes first. Nothing happens when there are none."""
        self.kill(id)
        for root in self._roots:
            for directory in reversed(list(_tree(f"{root}/{self._parent}/{id}"))):
                _rmdir(directory)

    def remove_all(self) -> None:
        """Take away every container's cgroup, and the instance's own."""
        for id in self.ids():
            self.remove(id)
        self.remove_parent()

    def remove_parent(self) -> None:
        """Take away the instance's own cgroup, if it is empty."""
        for root in self._roots:
            with contextlib.suppress(OSError):
                os.rmdir(f"{root}/{self._parent}")

    def _file(self, controller: str, id: str, file: str) -> str:
        root = self.layout.controllers.get(controller, self.layout.unified)
        return f"{root}/{self._parent}/{id}/{file}"

    def _read(self, controller: str, id: str, file: str) -> str | None:
        try:
            descriptor = os.open(self._file(controller, id, file), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.read(descriptor, 4096).decode().strip()
        except OSError:  # removed since
            return None
        finally:
            os.close(descriptor)

    def _write(self, controller: str, id: str, file: str, value: str) -> None:
        Path(self._file(controller, id, file)).write_text(value)


def current() -> Layout:
    """The layout of this host."""
    return parse_layout(Path("/proc/self/mountinfo").read_text())


def swap_limit(layout: Layout) -> bool:
    """Whether the kernel can limit swap."""
    memory = layout.controllers.get("memory")
    if memory is not None:
        return os.path.exists(f"{memory}/memory.memsw.limit_in_bytes")
    return os.path.exists("/proc/swaps") and layout.version == "v2"


def leave(pid: int, layout: Layout, instance: str) -> None:
    """Put a monitor outside our own service's cgroup, so that stopping the service spares it.

    Nothing happens where we are in the root ourselves, as without a service manager.
    """
    for root in {layout.controllers.get("name=systemd", ""), layout.unified} - {""}:
        own = _own_cgroup(root == layout.unified)
        if own == "/":
            continue
        directory = f"{root}/reconciler-{instance}-monitors"
        with contextlib.suppress(OSError):
            os.makedirs(directory, exist_ok=True)
            Path(directory, "cgroup.procs").write_text(str(pid))


def _own_cgroup(unified: bool) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if (number == "0" and unified) or controllers == "name=systemd":
            return path
    return "/"


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _tree(directory: str) -> Iterator[str]:
    if not os.path.isdir(directory):
        return
    yield directory
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        names = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for name in names:
            yield from _tree(name)


def _rmdir(directory: str) -> None:
    """The kernel may take a moment to let go of a cgroup whose last process has just ended."""
    deadline = time.monotonic() + 2
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline or not os.path.isdir(directory):
                return
            time.sleep(0.002)
        else:
            return
