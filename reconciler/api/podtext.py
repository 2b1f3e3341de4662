"""What `get pods` says of a pod in one word: not its phase, but the first thing that keeps it from running.

Source: printPod of kubernetes pkg/printers/internalversion. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class PodCells(NamedTuple):
    """A pod's line. `restarted_at` is the RFC 3339 end of the latest run that was followed by a restart."""

    ready: int
    containers: int
    status: str
    restarts: int
    restarted_at: str | None
    address: str
    readiness_gates: str


def pod_cells(pod: Json) -> PodCells:
    """Sum up one pod object."""
    spec, status = pod["spec"], pod.get("status", {})
    initial: Sequence[Json] = status.get("initContainerStatuses") or ()
    main: Sequence[Json] = status.get("containerStatuses") or ()
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    initializing = None if _condition(status, "Initialized") else _initializing(spec, initial, sidecars)
    beside = [s for s in initial if s["name"] in sidecars]
    counted = [*main, *beside] if initializing is None else initial
    return PodCells(
        ready=sum(map(_is_up, (*main, *beside))),
        containers=len(spec["containers"]) + len(sidecars),
        status=_word(pod, main, initializing),
        restarts=sum(int(s.get("restartCount", 0)) for s in counted),
        restarted_at=max((at for s in counted if (at := _last_end(s))), default=None),
        address=status.get("podIP", ""),
        readiness_gates=_readiness_gates(spec, status),
    )


def _word(pod: Json, main: Sequence[Json], initializing: str | None) -> str:
    status = pod.get("status", {})
    phase = status.get("phase", "Unknown")
    word = status.get("reason") or phase
    if initializing is not None:
        word = initializing
    else:
        for container in main:  # the first container that has something to say
            if said := _fault(container.get("state", {})):
                word = said
                break
        if word == "Completed" and any(_is_up(s) for s in main):
            word = "Running" if _condition(status, "Ready") else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(word)


def _initializing(spec: Json, initial: Sequence[Json], sidecars: set[str]) -> str | None:
    """What the init containers are waiting for, None when they are through."""
    for position, container in enumerate(initial):
        state = container.get("state", {})
        if ended := state.get("terminated"):
            if ended.get("exitCode") == 0:
                continue
            return f"Init:{_fault(state)}"
        if container["name"] in sidecars and container.get("started"):
            continue
        waiting = state.get("waiting", {}).get("reason", "")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{position}/{len(spec.get('initContainers') or ())}"
    return None


def _fault(state: Json) -> str:
    """Why a container waits, or how it ended; "" while it runs."""
    if waiting := state.get("waiting"):
        return str(waiting.get("reason", ""))
    if ended := state.get("terminated"):
        if ended.get("reason"):
            return str(ended["reason"])
        return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
    return ""


def _is_up(container: Json) -> bool:
    return bool(container.get("ready")) and "running" in container.get("state", {})


def _last_end(container: Json) -> str | None:
    ended = container.get("lastState", {}).get("terminated") or {}
    return ended.get("finishedAt") if container.get("restartCount") else None


def _condition(status: Json, type: str) -> bool:
    return any(c["type"] == type and c["status"] == "True" for c in status.get("conditions") or ())


def _readiness_gates(spec: Json, status: Json) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return "<none>"
    return f"{sum(_condition(status, gate['conditionType']) for gate in gates)}/{len(gates)}"
