"""What an OCI runtime is to run: a declared container, its image and this host become `config.json`.

Pure. What the host has (hard limits, capabilities, cgroup version) comes in as `HostFacts`, what
was made for the container (mounts, addresses, its user) as arguments. Docker's defaults are kept where
Kubernetes does not say otherwise, since images are built against them.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.errors import TerminalError
from reconciler.model.sandbox import HOST_IP, POD_IP, POD_IPS, ContainerConfig, SandboxConfig, Security
from reconciler.runtimes.native import cgroups, seccomp
from reconciler.runtimes.native.users import User

DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_OPEN_FILES = 1_048_576  # what Docker's service gives
_SHM_BYTES = 64 << 20
_PROPAGATION = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the host. `kind` is "b" or "c"."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What this machine allows. Capabilities are without `CAP_`."""

    machine: str = "x86_64"
    cgroup_version: str = "v2"
    capabilities: tuple[str, ...] = ()  # that we may give
    open_files_hard: int = _OPEN_FILES
    may_raise_limits: bool = True  # CAP_SYS_RESOURCE
    own_oom_score_adj: int = 0
    swap_limit: bool = False
    apparmor_profile: str = ""
    propagates: bool = True  # a container's mounts can reach the host
    devices: tuple[Device, ...] = ()  # for privileged containers


@dataclass(frozen=True, slots=True)
class BoundMount:
    """A path of the host at a path of the container."""

    source: str
    destination: str
    read_only: bool = False
    propagation: str = "None"
    recursive: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """What the engine made for one container before it runs."""

    rootfs: str
    cgroup: str
    user: User
    netns: str = ""  # "" is the host's network
    ipc: str = ""  # the IPC namespace that the pod's containers share; "" makes one for this container
    addresses: tuple[str, ...] = ()
    host_address: str = ""
    mounts: tuple[BoundMount, ...] = ()
    seccomp_profile: Mapping[str, Any] | None = None  # read from the path the pod names


def render_spec(
    config: ContainerConfig, sandbox: SandboxConfig, image: Mapping[str, Any], made: Made, host: HostFacts
) -> dict[str, Any]:
    """The OCI runtime spec. `image` is the OCI image config (its `config` object is used).

    Raises: TerminalError(reason="CreateContainerConfigError").
    Source: github.com/opencontainers/runtime-spec, config.md.
    """
    settings: Mapping[str, Any] = image.get("config") or {}
    security = config.security
    _admit_user(config, made.user)
    if not host.propagates and any(m.propagation == "Bidirectional" for m in config.mounts):
        raise TerminalError(
            "mountPropagation Bidirectional cannot work with crun on a host with both cgroup versions; "
            "set RECONCILER_OCI_RUNTIME=runc",
            reason="CreateContainerConfigError",
        )
    capabilities = granted_capabilities(security, host.capabilities)
    return {
        "ociVersion": "1.0.2",
        "process": _process(config, sandbox, settings, made, host, capabilities),
        "root": {"path": made.rootfs, "readonly": security.read_only_root},
        **({} if sandbox.host_network else {"hostname": sandbox.hostname or config.name}),
        "mounts": _mounts(sandbox, made, security, host),
        "linux": _linux(config, sandbox, made, host, capabilities),
    }


def arguments(config: ContainerConfig, settings: Mapping[str, Any]) -> list[str]:
    """The command line: the image's entrypoint and cmd, as the declaration replaces them."""
    if config.command:
        return [*config.command, *config.args]
    found = [*(settings.get("Entrypoint") or ()), *(config.args or settings.get("Cmd") or ())]
    if not found:
        raise TerminalError(
            f"image {config.image} has neither entrypoint nor cmd; set `command`",
            reason="CreateContainerConfigError",
        )
    return found


def environment(
    config: ContainerConfig, hostname: str, settings: Mapping[str, Any], made: Made, *, tty: bool = False
) -> list[str]:
    """`NAME=value`: the image's, then the declared; addresses in place of their marks."""
    found = {"PATH": _PATH, **({"TERM": "xterm"} if tty else {}), **({"HOSTNAME": hostname} if hostname else {})}
    for entry in settings.get("Env") or ():
        name, _, value = entry.partition("=")
        found[name] = value
    for name, value in config.env:
        found[name] = _located(value, made)
    found.setdefault("HOME", made.user.home or "/")
    return [f"{name}={value}" for name, value in found.items()]


def _located(text: str, made: Made) -> str:
    """`text` with addresses in place of their marks."""
    if "\0" not in text:
        return text
    text = text.replace(POD_IP, made.addresses[0] if made.addresses else "")
    return text.replace(POD_IPS, ",".join(made.addresses)).replace(HOST_IP, made.host_address)


def granted_capabilities(security: Security, available: Sequence[str]) -> tuple[str, ...]:
    """Docker's default set, with `add` and `drop` applied, as far as this host has them."""
    if security.privileged:
        return tuple(available)
    drop, add = ({_bare(name) for name in names} for names in (security.capabilities_drop, security.capabilities_add))
    granted = set() if "ALL" in drop else set(DEFAULT_CAPABILITIES) - drop
    granted |= set(available) - drop if "ALL" in add else add
    missing = sorted(add - {"ALL"} - set(available))
    if missing:
        raise TerminalError(
            f"this host cannot give the capability {missing[0]}; take it out of securityContext.capabilities.add",
            reason="CreateContainerConfigError",
        )
    return tuple(sorted(granted & set(available)))


def stop_signal(declared: str, settings: Mapping[str, Any]) -> int:
    """The number of the declared signal, else the image's, else TERM ("SIGRTMIN+3", "QUIT", "9")."""
    text = (declared or settings.get("StopSignal") or "TERM").upper()
    if text.isascii() and text.isdigit():
        return int(text)
    base, plus, offset = text.removeprefix("SIG").partition("+")
    try:
        return int(signal.Signals[f"SIG{base}"]) + (int(offset) if plus else 0)
    except (KeyError, ValueError):
        raise TerminalError(
            f"{text} is no signal; use a name such as SIGTERM, or a number", reason="CreateContainerConfigError"
        ) from None


def _bare(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def _admit_user(config: ContainerConfig, user: User) -> None:
    if config.security.run_as_non_root and user.uid == 0:
        raise TerminalError(
            f"container has runAsNonRoot and image {config.image} would run as root; set runAsUser",
            reason="CreateContainerConfigError",
        )


def _process(
    config: ContainerConfig,
    sandbox: SandboxConfig,
    settings: Mapping[str, Any],
    made: Made,
    host: HostFacts,
    capabilities: Sequence[str],
) -> dict[str, Any]:
    security, user = config.security, made.user
    names = [f"CAP_{name}" for name in capabilities]
    hard = min(_OPEN_FILES, host.open_files_hard)
    score = config.oom_score_adj
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": {
            "uid": user.uid,
            "gid": user.gid,
            "additionalGids": sorted({*user.groups, *security.supplemental_groups} - {user.gid}),
        },
        "args": [_located(argument, made) for argument in arguments(config, settings)],
        "env": environment(config, sandbox.hostname, settings, made, tty=config.tty),
        "cwd": config.working_dir or settings.get("WorkingDir") or "/",
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": hard, "soft": hard}],
        "noNewPrivileges": security.no_new_privileges,
        # below our own only CAP_SYS_RESOURCE may go
        "oomScoreAdj": score if host.may_raise_limits else max(score, host.own_oom_score_adj),
    }
    if host.apparmor_profile and not security.privileged:
        process["apparmorProfile"] = host.apparmor_profile
    return process


def _mounts(sandbox: SandboxConfig, made: Made, security: Security, host: HostFacts) -> list[dict[str, Any]]:
    access = "rw" if security.privileged else "ro"
    quiet = ["nosuid", "noexec", "nodev"]
    found: list[dict[str, Any]] = [
        _mount("/proc", "proc", "proc", quiet),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/sys", "sysfs", "sysfs", [*quiet, access]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*quiet, "relatime", access]),
    ]
    if sandbox.host_ipc:
        found += [
            _mount(path, "bind", path, ["rbind", *quiet])
            for path in ("/dev/mqueue", "/dev/shm")  # noqa: S108
        ]
    else:
        found.append(_mount("/dev/mqueue", "mqueue", "mqueue", quiet))
        if not any(m.destination == "/dev/shm" for m in made.mounts):  # noqa: S108
            found.append(_mount("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", f"size={_SHM_BYTES}"]))  # noqa: S108
    # a mount inside another must come after it
    for bound in sorted(made.mounts, key=lambda m: m.destination.rstrip("/").count("/")):
        options = ["rbind" if bound.recursive else "bind", _PROPAGATION[bound.propagation]]
        found.append(_mount(bound.destination, "bind", bound.source, [*options, "ro" if bound.read_only else "rw"]))
    return found


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _linux(
    config: ContainerConfig, sandbox: SandboxConfig, made: Made, host: HostFacts, capabilities: Sequence[str]
) -> dict[str, Any]:
    security = config.security
    namespaces: list[dict[str, str]] = [{"type": "mount"}]
    if not sandbox.host_pid:
        namespaces.append({"type": "pid"})
    if not sandbox.host_ipc:
        namespaces.append({"type": "ipc", "path": made.ipc} if made.ipc else {"type": "ipc"})
    if not sandbox.host_network:
        namespaces += [{"type": "uts"}, {"type": "network", "path": made.netns}]
    if host.cgroup_version == "v2" and not security.privileged:
        namespaces.append({"type": "cgroup"})
    devices: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "cgroupsPath": made.cgroup,
        "resources": {
            **cgroups.oci_resources(config.resources, swap_limit=host.swap_limit),
            "devices": [{"allow": True, "access": "rwm"}] if security.privileged else devices,
        },
    }
    if sandbox.sysctls:
        linux["sysctl"] = dict(sandbox.sysctls)
    if any(m.propagation != "None" for m in made.mounts):
        shared = any(m.propagation == "Bidirectional" for m in made.mounts)
        linux["rootfsPropagation"] = "rshared" if shared else "rslave"
    if security.privileged:
        linux["devices"] = [
            {"path": d.path, "type": d.kind, "major": d.major, "minor": d.minor, "fileMode": d.mode, "uid": 0, "gid": 0}
            for d in host.devices
        ]
        return linux
    if not security.unmasked_proc:
        linux |= {"maskedPaths": list(_MASKED), "readonlyPaths": list(_READ_ONLY)}
    if made.seccomp_profile is not None:
        linux["seccomp"] = made.seccomp_profile
    elif security.seccomp == "RuntimeDefault":
        linux["seccomp"] = seccomp.default_profile(host.machine, capabilities)
    return linux
