"""Whether a machine can run the native engine, judged from facts. Pure; host.py gathers them.

Every check says what was found and, where that is not enough, how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

GIB = 1 << 30
_NEEDED = ("conmon", "nft")
_RUNTIMES = ("crun", "runc")
_WANTED = {
    "skopeo": "without it images cannot be pulled, loaded or imported",
    "buildah": "without it images cannot be built",
    "dnsmasq": "without it pods cannot resolve each other's names",
}
PROGRAMS = (*_RUNTIMES, *_NEEDED, *_WANTED)
PACKAGES = {"nft": "nftables"}
_OLDEST_KERNEL = (5, 8)  # pidfds, openat2, overlayfs that survives them
_CONTROLLERS = ("cpu", "memory", "pids")
_INSTALLERS = {
    "debian": "apt install",
    "ubuntu": "apt install",
    "fedora": "dnf install",
    "rhel": "dnf install",
    "centos": "dnf install",
    "arch": "pacman -S",
    "alpine": "apk add",
    "suse": "zypper install",
    "opensuse": "zypper install",
}
_WATCHES, _INSTANCES = 8192, 128
_ROOM_BYTES, _ROOM_INODES = 2 * GIB, 20_000


class Verdict(StrEnum):
    """WARNING: works, but for what the check says. FAILED: the engine does not start."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `mend` is empty when nothing needs mending."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """Of the filesystem that holds a directory."""

    path: str
    filesystem: str
    free_bytes: int
    free_inodes: int | None  # None: it makes them as it goes


@dataclass(frozen=True, slots=True)
class Facts:
    """What host.py found. A `*_refusal` says why what was tried failed: "" it works, None it was not tried."""

    root: bool = True
    capabilities: frozenset[str] = frozenset()  # of this process, without CAP_
    kernel: str = ""
    distributions: tuple[str, ...] = ()  # ID and ID_LIKE of os-release
    programs: Mapping[str, str] = field(default_factory=dict)  # name -> version
    cgroup_version: str = "v2"  # v1 | v2 | hybrid | "" for none
    cgroup_controllers: frozenset[str] = frozenset()
    overlay_refusal: str | None = ""
    rules_refusal: str | None = ""
    user_namespaces: int = 0
    ip_forward: bool = False
    forward_drops: tuple[str, ...] = ()  # "ip filter FORWARD": chains that drop what they do not know
    networks_taken: tuple[str, ...] = ()
    pod_cidr: str = ""  # "" when none is free
    inotify_watches: int = 0
    inotify_instances: int = 0
    rooms: tuple[Room, ...] = ()


def judge(facts: Facts) -> list[Check]:
    """All checks, in the order in which a reader should mend."""
    return [
        _root(facts),
        _kernel(facts),
        _cgroups(facts),
        *_programs(facts),
        _overlay(facts),
        _rules(facts),
        *_forwarding(facts),
        _addresses(facts),
        *_rooms(facts),
        _inotify(facts),
        _limits(facts),
        _user_namespaces(facts),
    ]


def refusal(facts: Facts) -> str:
    """Why the engine cannot start, in one sentence that says how to mend it; "" when it can."""
    reasons = []
    if not facts.root:
        reasons.append("it needs root: use sudo")
    missing = [name for name in _NEEDED if name not in facts.programs]
    if not any(name in facts.programs for name in _RUNTIMES):
        missing.insert(0, "crun or runc")
    if missing:
        packages = [PACKAGES.get(name, name.split()[0]) for name in missing]
        reasons.append(f"{_listed(missing)} not installed: {install(facts.distributions, packages)}")
    if facts.overlay_refusal:
        reasons.append(f"no overlayfs: {facts.overlay_refusal}")
    return "; ".join(reasons)


def install(distributions: Sequence[str], packages: Iterable[str]) -> str:
    """The command that installs packages here."""
    for distribution in distributions:
        if distribution in _INSTALLERS:
            return f"{_INSTALLERS[distribution]} {' '.join(packages)}"
    return f"install the packages {' '.join(packages)}"


def _root(facts: Facts) -> Check:
    if not facts.root:
        return Check("root", Verdict.FAILED, "not root", "use sudo")
    lacking = sorted({"SYS_ADMIN", "NET_ADMIN", "MKNOD", "SETUID", "SETGID", "CHOWN"} - facts.capabilities)
    if lacking:
        words = ", ".join(f"CAP_{name}" for name in lacking)
        return Check("root", Verdict.FAILED, f"root without {words}", "run it where root has these capabilities")
    return Check("root", Verdict.OK, "root")


def _kernel(facts: Facts) -> Check:
    version = tuple(int(part) for part in facts.kernel.split("-")[0].split(".")[:2] if part.isdigit())
    if version < _OLDEST_KERNEL:
        wanted = ".".join(map(str, _OLDEST_KERNEL))
        return Check("kernel", Verdict.FAILED, facts.kernel, f"boot Linux {wanted} or newer")
    return Check("kernel", Verdict.OK, facts.kernel)


def _cgroups(facts: Facts) -> Check:
    if not facts.cgroup_version:
        return Check("cgroups", Verdict.FAILED, "none mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    missing = [name for name in _CONTROLLERS if name not in facts.cgroup_controllers]
    if missing:
        mend = "boot with cgroup_enable=memory" if "memory" in missing else "enable them in cgroup.subtree_control"
        return Check(
            "cgroups", Verdict.WARNING, f"{facts.cgroup_version} without {_listed(missing)}: no such limits", mend
        )
    return Check("cgroups", Verdict.OK, facts.cgroup_version)


def _programs(facts: Facts) -> Iterator[Check]:
    runtimes = [f"{name} {facts.programs[name]}".strip() for name in _RUNTIMES if name in facts.programs]
    if runtimes:
        yield Check("OCI runtime", Verdict.OK, ", ".join(runtimes))
    else:
        yield Check("OCI runtime", Verdict.FAILED, "neither crun nor runc", install(facts.distributions, ["crun"]))
    for name in (*_NEEDED, *_WANTED):
        if name in facts.programs:
            yield Check(name, Verdict.OK, facts.programs[name] or "installed")
            continue
        mend = install(facts.distributions, [PACKAGES.get(name, name)])
        if name in _WANTED:
            yield Check(name, Verdict.WARNING, f"not installed: {_WANTED[name]}", mend)
        else:
            yield Check(name, Verdict.FAILED, "not installed", mend)


def _overlay(facts: Facts) -> Check:
    mend = "modprobe overlay, or put --state-dir on a local filesystem (ext4, xfs, btrfs)"
    return _tried("overlayfs", facts.overlay_refusal, mend)


def _rules(facts: Facts) -> Check:
    return _tried("nftables", facts.rules_refusal, "modprobe nf_tables")


def _tried(name: str, refusal: str | None, mend: str) -> Check:
    match refusal:
        case None:
            return Check(name, Verdict.WARNING, "could not be tried", "use sudo, and see the checks above")
        case "":
            return Check(name, Verdict.OK, "works")
        case _:
            return Check(name, Verdict.FAILED, refusal, mend)


def _forwarding(facts: Facts) -> Iterator[Check]:
    turned = "on" if facts.ip_forward else "off; turned on when pods start"
    yield Check("forwarding", Verdict.OK, turned)
    for chain in facts.forward_drops:
        if chain == "ip filter FORWARD":
            yield Check("forwarding", Verdict.OK, f"{chain} drops; a rule of ours lets pods pass")
        else:
            yield Check(
                "forwarding",
                Verdict.WARNING,
                f"chain {chain} drops what it does not know, so pods may not reach the outside",
                "accept there what comes from and goes to interfaces named rec-*",
            )


def _addresses(facts: Facts) -> Check:
    if not facts.pod_cidr:
        return Check(
            "pod addresses",
            Verdict.WARNING,
            f"every usual private network is in use here ({len(facts.networks_taken)} routes)",
            "name a free network with --pod-cidr",
        )
    return Check("pod addresses", Verdict.OK, f"{facts.pod_cidr} is free")


def _rooms(facts: Facts) -> Iterator[Check]:
    for room in facts.rooms:
        found = f"{room.path}: {room.free_bytes / GIB:.1f} GiB free ({room.filesystem})"
        if room.free_bytes < _ROOM_BYTES:
            yield Check("disk", Verdict.WARNING, found, "free some space, or move it with --state-dir")
        elif room.free_inodes is not None and room.free_inodes < _ROOM_INODES:
            yield Check("disk", Verdict.WARNING, f"{room.path}: {room.free_inodes} inodes free", "remove small files")
        else:
            yield Check("disk", Verdict.OK, found)


def _inotify(facts: Facts) -> Check:
    found = f"{facts.inotify_watches} watches, {facts.inotify_instances} instances"
    low = []
    if facts.inotify_watches < _WATCHES:
        low.append("fs.inotify.max_user_watches=65536")
    if facts.inotify_instances < _INSTANCES:
        low.append("fs.inotify.max_user_instances=512")
    if low:
        return Check("inotify", Verdict.WARNING, f"{found}: large folders are polled", f"sysctl -w {' '.join(low)}")
    return Check("inotify", Verdict.OK, found)


def _limits(facts: Facts) -> Check:
    if "SYS_RESOURCE" not in facts.capabilities:
        return Check(
            "limits",
            Verdict.WARNING,
            "no CAP_SYS_RESOURCE: rlimits stay within our own",
            "grant CAP_SYS_RESOURCE, or raise the limits of the shell",
        )
    return Check("limits", Verdict.OK, "can be raised")


def _user_namespaces(facts: Facts) -> Check:
    if facts.user_namespaces == 0:
        return Check(
            "user namespaces",
            Verdict.WARNING,
            "turned off: hostUsers: false does not work",
            "sysctl -w user.max_user_namespaces=65536",
        )
    return Check("user namespaces", Verdict.OK, f"{facts.user_namespaces} allowed")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
