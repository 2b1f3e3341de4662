"""What a runtime is told to make, in the terms of the CRI: a pod sandbox and containers in it.

The planner resolves a declared Pod, with the ConfigMaps and Secrets it uses, into these.
A runtime knows nothing else. Everything that changes what runs is a field here, and so
is part of the spec hash (plan/hashing.py), which leaves out every field that still has its default: a
new field with a default never restarts what already runs.

Pod addresses are not known when a plan is made. Where a value needs one it holds
`POD_IP`, `POD_IPS` or `HOST_IP`, and the runtime replaces them when it creates the container.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.model.ref import Ref

POD_IP = "\0status.podIP\0"
POD_IPS = "\0status.podIPs\0"
HOST_IP = "\0status.hostIP\0"


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A directory that lives as long as the sandbox. `medium` is "" (disk) or "Memory" (tmpfs)."""

    name: str
    medium: str = ""
    size_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the host. `type` as in Kubernetes: "", DirectoryOrCreate, Directory, FileOrCreate,
    File, Socket, CharDevice, BlockDevice."""

    name: str
    path: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a `Files` volume. `path` is relative, clean, and without `..`; `mode` is its permission bits."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Files:
    """Content from ConfigMaps, Secrets and the downward API, published atomically through `..data`.
    `secret` keeps it off the disk (tmpfs)."""

    name: str
    files: tuple[File, ...] = ()
    secret: bool = False


Volume = EmptyDir | HostPath | Files


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of the sandbox, by name, at `path` of the container."""

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""
    propagation: str = "None"  # None | HostToContainer | Bidirectional


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the pod that is reachable on the host. `host_ip` empty means every address."""

    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Dns:
    """resolv.conf. `from_host` starts with the host's own; the lists are added to it."""

    from_host: bool = True
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What the containers of a pod share: network, host name, volumes."""

    pod: Ref
    hostname: str = ""
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    ports: tuple[Port, ...] = ()
    dns: Dns = Dns()
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()  # /etc/hosts: (address, names)
    sysctls: tuple[tuple[str, str], ...] = ()
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """cgroup limits. None is no limit."""

    cpu_request_millicores: int | None = None
    cpu_limit_millicores: int | None = None
    memory_limit_bytes: int | None = None
    pids_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Security:
    """What the process may do. Ids of None come from the image. Capabilities are without `CAP_`."""

    user: int | None = None
    group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    run_as_non_root: bool = False
    privileged: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    seccomp: str = "RuntimeDefault"  # RuntimeDefault | Unconfined | a path of a profile
    unmasked_proc: bool = False


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """One container. `command` replaces the image's entrypoint, `args` its cmd; a command
    without args drops the image's cmd too, as in Kubernetes."""

    name: str
    image: str  # normalized: model/reference.py
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    security: Security = Security()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    stop_signal: str = ""  # "" is the image's, else TERM
    termination_message_path: str = "/dev/termination-log"
    oom_score_adj: int = 0
    files_hash: str = ""  # of the Files volumes it mounts: new content is a new container
