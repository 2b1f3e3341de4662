"""What this machine has, gathered for fitness.py to judge.

`require_host` looks only at what costs nothing, at every start; `examine` tries things out, for `doctor`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reconciler.errors import ConflictError, HostError
from reconciler.plan.addresses import choose_pod_cidr
from reconciler.runtimes.native import cgroups, fitness, kernel, machine, tools
from reconciler.runtimes.native.net import survey

_VERSION = re.compile(r"\d+(\.\d+)+")
_ANSWER_SECONDS = 10


def require_host() -> None:
    """Raises: HostError, one sentence with all that keeps the engine from starting and how to mend it."""
    facts = fitness.Facts(
        root=os.geteuid() == 0,
        distributions=tools.distributions(),
        programs={name: "" for name in fitness.PROGRAMS if tools.find(name)},
        overlay_refusal="" if _kernel_has_overlay() else "modprobe overlay, or boot a kernel that has it",
    )
    if reasons := fitness.refusal(facts):
        raise HostError(f"containers cannot run here: {reasons}")


def examine(state_dir: Path, run_dir: Path) -> list[fitness.Check]:
    """Everything `doctor` shows. Leaves nothing behind."""
    return fitness.judge(gather(state_dir, run_dir))


def gather(state_dir: Path, run_dir: Path) -> fitness.Facts:
    """The facts. Without root, not everything can be tried."""
    layout = cgroups.current()
    networks = survey.host_networks()
    try:
        pod_cidr = str(choose_pod_cidr(None, networks))
    except ConflictError:
        pod_cidr = ""
    programs = _programs()
    root = os.geteuid() == 0
    listed, rules_refusal = _base_chains() if root and "nft" in programs else ("", None)
    return fitness.Facts(
        root=root,
        capabilities=frozenset(machine.held_capabilities(_effective(Path("/proc/self/status").read_text()))),
        kernel=os.uname().release,
        distributions=tools.distributions(),
        programs=programs,
        cgroup_version=layout.version if layout.roots() else "",
        cgroup_controllers=_controllers(layout),
        overlay_refusal=_try_overlay(state_dir) if root else None,
        rules_refusal=rules_refusal,
        user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        ip_forward=_number("/proc/sys/net/ipv4/ip_forward") == 1,
        forward_drops=parse_forward_drops(listed),
        networks_taken=tuple(map(str, networks)),
        pod_cidr=pod_cidr,
        inotify_watches=_number("/proc/sys/fs/inotify/max_user_watches"),
        inotify_instances=_number("/proc/sys/fs/inotify/max_user_instances"),
        rooms=tuple(_room(path) for path in (state_dir, run_dir)),
    )


def parse_forward_drops(listed: str) -> tuple[str, ...]:
    """Base chains that drop what they do not know of the packets we forward, from `nft -j list chains`.

    firewalld's accepts by policy, and rejects by its last rule.
    """
    drops = []
    for entry in json.loads(listed or "{}").get("nftables", ()):
        chain = entry.get("chain", {})
        if chain.get("hook") == "forward" and (chain["policy"] == "drop" or chain["table"] == "firewalld"):
            drops.append(f"{chain['family']} {chain['table']} {chain['name']}")
    return tuple(drops)


def _programs() -> dict[str, str]:
    found = {name: path for name in fitness.PROGRAMS if (path := tools.find(name))}
    with ThreadPoolExecutor(len(fitness.PROGRAMS)) as threads:
        return dict(zip(found, threads.map(_version, found.values()), strict=True))


def _version(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(done.stdout)
    return match[0] if match else ""


def _base_chains() -> tuple[str, str]:
    """(JSON of all base chains, "") or ("", why there is none)."""
    try:
        done = subprocess.run(
            [tools.require("nft"), "-j", "list", "chains"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", "nft does not answer"
    if done.returncode == 0:
        return done.stdout, ""
    return "", (done.stderr.strip().splitlines() or ["nft gave no reason"])[0]


def _kernel_has_overlay() -> bool:
    if "overlay" in Path("/proc/filesystems").read_text().split():
        return True
    modules = Path("/lib/modules", os.uname().release)  # mounting loads it
    try:
        return any("/overlay.ko" in (modules / name).read_text() for name in ("modules.dep", "modules.builtin"))
    except OSError:
        return False


def _try_overlay(state_dir: Path) -> str:
    """Mount one where the state directory is, or will be. Returns why that failed, or ""."""
    if not _kernel_has_overlay():
        return "the kernel has none"
    where = _nearest(state_dir)
    try:
        with tempfile.TemporaryDirectory(prefix=".reconciler-doctor-", dir=where) as folder:
            parts = {name: Path(folder, name) for name in ("lower", "upper", "work", "merged")}
            for part in parts.values():
                part.mkdir()
            options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
            kernel.mount("overlay", str(parts["merged"]), "overlay", 0, options)
            kernel.unmount(str(parts["merged"]))
    except OSError as error:
        return f"mounting one in {where} failed: {error.strerror}"
    return ""


def _controllers(layout: cgroups.Layout) -> frozenset[str]:
    found = set(layout.controllers)
    if layout.unified:
        try:
            found.update(Path(layout.unified, "cgroup.controllers").read_text().split())
        except OSError:
            pass
    return frozenset(found)


def _effective(status: str) -> str:
    """The effective capabilities, under the name by which machine.py reads the bounding set."""
    lines = [line.replace("CapEff:", "CapBnd:") for line in status.splitlines() if line.startswith("CapEff:")]
    return "\n".join(lines)


def _room(path: Path) -> fitness.Room:
    where = _nearest(path)
    status = os.statvfs(where)
    inodes = status.f_favail if status.f_files else None
    return fitness.Room(str(path), _filesystem(where), status.f_bavail * status.f_frsize, inodes)


def _filesystem(path: Path) -> str:
    """Its kind: ext4, xfs, overlay."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split(" ")[2] == wanted:
            return line.partition(" - ")[2].split(" ")[0]
    return "unknown"


def _nearest(path: Path) -> Path:
    """The path, or what exists of it."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _number(path: str) -> int:
    try:
        return int(Path(path).read_text())
    except OSError:
        return 0
