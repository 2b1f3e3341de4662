"""What a runtime saw. Times are seconds since the epoch, on the wall clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from reconciler.model.ref import Ref


class State(StrEnum):
    """Of a container.

    CREATED  made and ready to start
    RUNNING  its process runs, and all that it stands on is in order
    PAUSED   frozen by somebody; we never pause
    EXITED   its process ended; exit_code and finished_at are set
    BROKEN   anything else: half made, removed by hand, without its monitor; `fault` says which
    """

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class SeenContainer:
    """A container that this instance made."""

    id: str
    name: str  # of the container in its pod
    sandbox_id: str
    spec_hash: str
    state: State
    attempt: int = 0  # 0 for the first of its name in the pod; the restart count
    backoff_level: int = 0  # crashes in a row before this one; sets the next delay
    image: str = ""
    image_id: str = ""
    pid: int | None = None
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    message: str = ""  # the termination message
    fault: str = ""  # with BROKEN: what is wrong, for people
    limits_drifted: bool = False  # somebody changed its cgroup limits


@dataclass(frozen=True, slots=True)
class SeenSandbox:
    """A pod sandbox that this instance made. `fault` is not empty when something of it was
    destroyed (network namespace, link, mount, cgroup) and it must be rebuilt."""

    id: str
    spec_hash: str
    attempt: int = 0
    created_at: float = 0.0
    addresses: tuple[str, ...] = ()  # the first is the pod IP; the host's with hostNetwork
    volume_hashes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # Files volumes only
    grace_seconds: float = 30.0  # as it was declared when the sandbox was made
    fault: str = ""


@dataclass(frozen=True, slots=True)
class SeenPod:
    """All there is of one pod: its sandbox and containers, dead ones too."""

    ref: Ref
    sandbox: SeenSandbox | None = None
    containers: tuple[SeenContainer, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """The world. `images` maps every normalized reference in the store to the image's id."""

    pods: Mapping[Ref, SeenPod] = field(default_factory=lambda: MappingProxyType({}))
    images: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
