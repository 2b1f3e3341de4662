"""What the facts about a container amount to. Pure: who looks decides nothing, who decides looks at nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reconciler.model.observed import State
from reconciler.runtimes.native.ledger import HALF, ContainerRow, Phase, SandboxRow

_KILLED = 128 + 9
_INTERRUPTED = {
    Phase.MAKING: "half made: making it was interrupted",
    Phase.REMOVING: "half removed: removing it was interrupted",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found of one container."""

    under_way: bool = False  # a step is making it right now
    alive: bool = False  # its process
    monitored: bool = False  # its monitor
    known: bool = True  # to the OCI runtime
    waits: bool = False  # to be started
    frozen: bool = False
    mounted: bool = True  # its root filesystem and parts of volumes
    cgroup: bool = True


def judge_container(row: ContainerRow, facts: Facts) -> tuple[State, str]:
    """The state of a container, and with BROKEN the fault, for people."""
    if row.phase in HALF:
        return (State.CREATED, "") if facts.under_way else (State.BROKEN, _INTERRUPTED[row.phase])
    if row.phase is Phase.EXITED:
        if row.exit_code == _KILLED and not facts.known:
            return State.BROKEN, "removed by hand"
        return State.EXITED, ""
    fault = _fault(facts)
    if fault:
        return State.BROKEN, fault
    if facts.frozen:
        return State.PAUSED, ""
    return (State.CREATED if facts.waits else State.RUNNING), ""


def _fault(facts: Facts) -> str:
    if not facts.monitored:
        return "its monitor (conmon) is gone" if facts.alive else "its process is gone, and its exit code with it"
    if not facts.known:
        return "removed by hand"
    if not facts.alive:
        return ""  # its monitor is about to report the exit
    if not facts.mounted:
        return "its root filesystem was unmounted"
    if not facts.cgroup:
        return "its cgroup was removed"
    return ""


def judge_sandbox(
    row: SandboxRow, *, under_way: bool, network: str | None, missing: Collection[str], files: bool
) -> str:
    """The fault of a sandbox, "" for none. `network` is None when it has none; `missing` are its mount points
    that are not there; `files` says whether its directory is."""
    if under_way:
        return ""
    if row.phase in HALF:
        return _INTERRUPTED[row.phase]
    if not row.config.host_network:
        if network is None:
            return "its network namespace was removed"
        if network:
            return network
    if missing:
        return f"{sorted(missing)[0]} was unmounted"
    return "" if files else "its directory was removed"
