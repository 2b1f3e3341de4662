"""What this machine allows a container, and which OCI runtime works on it, found out by trying."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from reconciler.errors import HostError
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, Resources, SandboxConfig
from reconciler.runtimes.native import bundle, cgroups, kernel, oci
from reconciler.runtimes.native.launcher import Launcher
from reconciler.runtimes.native.users import User

# in the order of their numbers, capability.h
_CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""".split()  # noqa: SIM905 (as a list it is 41 lines)
_INSTALL = "install crun or runc (Debian: apt install crun), or name one in RECONCILER_OCI_RUNTIME"


def facts(layout: cgroups.Layout) -> bundle.HostFacts:
    """What the containers of this host may have."""
    held = held_capabilities(Path("/proc/self/status").read_text())
    return bundle.HostFacts(
        machine=os.uname().machine,
        cgroup_version=layout.version,
        capabilities=held,
        open_files_hard=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        may_raise_limits="SYS_RESOURCE" in held,
        own_oom_score_adj=int(Path("/proc/self/oom_score_adj").read_text()),
        swap_limit=cgroups.swap_limit(layout),
        devices=_devices(),
    )


def held_capabilities(status: str) -> tuple[str, ...]:
    """The bounding set, from the text of /proc/self/status."""
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == "CapBnd":
            bits = int(value, 16)
            return tuple(name for number, name in enumerate(_CAPABILITIES) if bits >> number & 1)
    return ()


async def choose_runtime(
    layout: cgroups.Layout, groups: cgroups.Cgroups, run_dir: Path, host: bundle.HostFacts, environ: Mapping[str, str]
) -> tuple[oci.Program, Launcher]:
    """The fastest OCI runtime that runs a container here, and the threads to start it from.

    Raises: HostError with what each candidate said.
    """
    wanted = environ.get("RECONCILER_OCI_RUNTIME", "")
    names = [wanted] if wanted else ["crun", "runc"]
    said: list[str] = []
    for name in names:
        try:
            path = oci.find(name, _INSTALL)
        except HostError:
            said.append(f"{name} is not installed")
            continue
        # runc knows hybrid hosts; crun leaves things behind where it refuses, so that comes last
        for hidden in (layout.unified, "") if layout.version == "hybrid" and "crun" in name else ("",):
            launcher = Launcher(hidden)
            words = await launcher.run(_try, oci.Program(path, hidden), groups, run_dir, host)
            if not words:
                return oci.Program(path, hidden), launcher
            launcher.close()
            said.append(f"{name}: {oci.shorten(words)}")
    raise HostError(f"no OCI runtime works here ({'; '.join(said)}); {_INSTALL}")


def _try(program: oci.Program, groups: cgroups.Cgroups, run_dir: Path, host: bundle.HostFacts) -> str:
    """Run `true` on the host's own root filesystem; returns the runtime's complaint, or ""."""
    id = f"probe-{secrets.token_hex(4)}"
    directory = run_dir / id
    rootfs = directory / "rootfs"
    rootfs.mkdir(parents=True)
    config = ContainerConfig(
        name="probe", image="", command=("/bin/true",), resources=Resources(memory_limit_bytes=64 << 20, pids_limit=16)
    )
    sandbox = SandboxConfig(pod=Ref("Pod", "", "probe"), host_network=True)
    made = bundle.Made(rootfs=str(rootfs), cgroup=groups.path(id), user=User(0, 0))
    spec = bundle.render_spec(config, sandbox, {}, made, host)
    spec["root"]["readonly"] = True
    try:
        kernel.mount("/", str(rootfs), "", kernel.MS_BIND)
        (directory / "config.json").write_text(json.dumps(spec))
        return oci.call([program.path, "--root", str(directory / "state"), "run", "-b", str(directory), id])
    except OSError as error:
        return str(error)
    finally:
        if program.hidden:
            shutil.rmtree(f"{program.hidden}{groups.path(id)}", ignore_errors=True)
        groups.remove(id)
        kernel.unmount(str(rootfs))
        _remove(directory)


def _remove(directory: Path) -> None:
    """The rootfs only when empty: should the host's root still be mounted there, it stays."""
    (directory / "config.json").unlink(missing_ok=True)
    shutil.rmtree(directory / "state", ignore_errors=True)
    for path in (directory / "rootfs", directory):
        with contextlib.suppress(OSError):
            os.rmdir(path)


@functools.cache
def _devices() -> tuple[bundle.Device, ...]:
    found = []
    for entry in os.scandir("/dev"):
        status = entry.stat(follow_symlinks=False)
        kind = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else ""
        if kind and entry.name not in ("console", "ptmx", "tty"):
            mode = stat.S_IMODE(status.st_mode)
            found.append(bundle.Device(entry.path, kind, os.major(status.st_rdev), os.minor(status.st_rdev), mode))
    return tuple(sorted(found, key=lambda device: device.path))
