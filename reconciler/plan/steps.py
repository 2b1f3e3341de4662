"""What a plan is made of.

A plan is a graph of atomic steps, each with its cause, and at most one moment at which
to look again. It prints as text: tests compare that text and `reconciler diff` shows it.

    [] -> #1 StopContainer(id='c1', grace_seconds=30), SpecChanged
    [1] -> #2 RemoveContainer(id='c1'), SpecChanged
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum

from reconciler.model.login import Login
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, Files, SandboxConfig


class Why(StrEnum):
    """The cause of a step."""

    ABSENT = "Absent"  # declared, and not there
    SPEC_CHANGED = "SpecChanged"  # what runs is not what is declared
    EXITED = "Exited"  # its restart policy starts it again
    COMPLETED = "Completed"  # ended for good
    BROKEN = "Broken"  # half made, or taken apart by somebody
    PAUSED = "Paused"  # frozen by somebody
    DRIFTED = "Drifted"  # its limits were changed by somebody
    SANDBOX_CHANGED = "SandboxChanged"  # what it stands on is replaced
    UNDECLARED = "Undeclared"  # no longer declared
    SUPERSEDED = "Superseded"  # a newer attempt took its place


@dataclass(frozen=True, slots=True)
class PullImage:
    """Bring `image` (a normalized reference) into the store, asking the registry even if it is there.
    `logins` count before those of the machine."""

    image: str
    logins: tuple[Login, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make the sandbox `id`: network, host name, volumes. Idempotent.

    `grace_seconds` is remembered with it, for when its declaration is gone before it is."""

    id: str
    config: SandboxConfig = field(repr=False)
    spec_hash: str
    attempt: int
    grace_seconds: float = field(default=30.0, repr=False)


@dataclass(frozen=True, slots=True)
class UpdateVolume:
    """Publish new content of a Files volume, all of it at once."""

    sandbox_id: str
    volume: Files = field(repr=False)
    name: str
    volume_hash: str


@dataclass(frozen=True, slots=True)
class CreateContainer:
    """Make the container `id` in a sandbox, not started."""

    id: str
    pod: Ref = field(repr=False)
    sandbox_id: str
    config: ContainerConfig = field(repr=False)
    spec_hash: str
    attempt: int
    backoff_level: int = 0


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Let the process of a created container run."""

    id: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """The container's stop signal, and KILL after `grace_seconds`. Ends when the process has."""

    id: str
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class ResumeContainer:
    """Thaw a frozen container."""

    id: str


@dataclass(frozen=True, slots=True)
class RestoreLimits:
    """Write the declared cgroup limits again."""

    id: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove all there is of a container, killing what still runs. Idempotent."""

    id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Remove all there is of a sandbox, its emptyDirs too. Its containers are gone before. Idempotent."""

    id: str


Action = (
    PullImage
    | CreateSandbox
    | UpdateVolume
    | CreateContainer
    | StartContainer
    | StopContainer
    | ResumeContainer
    | RestoreLimits
    | RemoveContainer
    | RemoveSandbox
)


@dataclass(frozen=True, slots=True)
class Step:
    """One action, its cause, and the numbers of the steps that must have succeeded before it."""

    number: int
    action: Action
    why: Why
    after: tuple[int, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(f"{f.name}={getattr(self.action, f.name)!r}" for f in fields(self.action) if f.repr)
        return f"{list(self.after)} -> #{self.number} {type(self.action).__name__}({shown}), {self.why}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order that respects `after`, and when to plan again even if nothing happens."""

    steps: tuple[Step, ...] = ()
    wake_at: float | None = None

    def __str__(self) -> str:
        lines = [str(step) for step in self.steps] or ["nothing to do"]
        if self.wake_at is not None:
            lines.append(f"again at {self.wake_at:g}")
        return "\n".join(lines)


class Draft:
    """A plan in the making. `add` numbers the steps from 1."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._wake_at: float | None = None

    def add(self, action: Action, why: Why, after: Iterable[int] = ()) -> int:
        """Append a step; returns its number, for the `after` of later ones."""
        number = len(self._steps) + 1
        self._steps.append(Step(number, action, why, tuple(sorted(set(after)))))
        return number

    def wake(self, at: float) -> None:
        """Ask to be planned again at `at`; the earliest moment asked for wins."""
        self._wake_at = at if self._wake_at is None else min(self._wake_at, at)

    def plan(self) -> Plan:
        return Plan(tuple(self._steps), self._wake_at)
