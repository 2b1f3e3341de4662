"""What we say about an object: pod phases, conditions and container states, workload counts. Pure.

Source: kubelet's getPhase and status generation; semantics of reasons as kubectl's users know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.control.records import Record, timestamp
from reconciler.model.kinds import Deployment, Pod, ReplicaSet
from reconciler.model.observed import SeenContainer, SeenPod, State
from reconciler.model.reference import familiar
from reconciler.plan.pods import Want, WantContainer, newest
from reconciler.plan.restart import Failure, pull_due, restart_delay_seconds

Status = dict[str, Any]
_ALIVE = (State.RUNNING, State.PAUSED)
_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PodView:
    """All that a pod's status follows from."""

    pod: Pod
    want: Want
    seen: SeenPod | None
    failures: Mapping[str, Failure]
    images: Mapping[str, str]
    host_address: str
    created_at: float
    generation: int
    converged: bool  # whether all there is was made from this generation, and nothing is left to do
    now: float


def pod_status(view: PodView, before: Mapping[str, Any]) -> Status:
    """The `status` of a Pod. `before` is the last one: transition times move only with their condition."""
    inits = [_container_status(view, c, init=True) for c in view.want.init_containers]
    mains = [_container_status(view, c, init=False) for c in view.want.containers]
    phase = _phase(view, before.get("phase"))
    sandbox = view.seen.sandbox if view.seen else None
    up = sandbox is not None and not sandbox.fault
    status: Status = {
        "observedGeneration": view.generation if view.converged else before.get("observedGeneration", 0),
        "phase": phase,
        "conditions": _conditions(view, phase, inits, mains, up, before),
        "hostIP": view.host_address,
        "hostIPs": [{"ip": view.host_address}],
        "startTime": before.get("startTime") or timestamp(view.created_at),
        "qosClass": _qos_class(view.pod),
    }
    if sandbox is not None and up and sandbox.addresses:
        status["podIP"] = sandbox.addresses[0]
        status["podIPs"] = [{"ip": address} for address in sandbox.addresses]
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = mains
    if not up and (problem := _sandbox_problem(view)) is not None:
        status["reason"], status["message"] = problem
    return status


def refresh_at(view: PodView) -> float | None:
    """When the status changes by itself: ErrImagePull turns into ImagePullBackOff."""
    fresh = [f.at + _FRESH_SECONDS for f in view.failures.values() if f.at + _FRESH_SECONDS > view.now]
    return min(fresh, default=None)


def settled(status: Mapping[str, Any], generation: int) -> bool:
    """Whether a pod is as its declaration wants it: ready, or ended as it should."""
    if status.get("observedGeneration") != generation:
        return False
    return status.get("phase") == "Succeeded" or _ready(status)


def workload_status(record: Record, children: Sequence[Record], pods: Sequence[Record], now: float) -> Status:
    """The `status` of a ReplicaSet or Deployment. `pods` are all pods below it, `children` its ReplicaSets."""
    ready = sum(1 for pod in pods if pod.deleted_at is None and _ready(pod.status))
    total = sum(1 for pod in pods if pod.deleted_at is None)
    status: Status = {"observedGeneration": record.generation, "replicas": total}
    if ready:
        status["readyReplicas"] = status["availableReplicas"] = ready
    match record.object:
        case ReplicaSet():
            status["fullyLabeledReplicas"] = total
        case Deployment():
            desired = record.object.spec.replicas or 0
            status["updatedReplicas"] = total
            if desired > ready:
                status["unavailableReplicas"] = desired - ready
            status["conditions"] = _deployment_conditions(desired, ready, total, children, record.status, now)
    return status


# Containers


def _container_status(view: PodView, want: WantContainer, *, init: bool) -> Status:
    containers = view.seen.containers if view.seen else ()
    last = newest(containers, want.config.name)
    alive = last is not None and last.state in _ALIVE
    out: Status = {
        "name": want.config.name,
        "image": familiar(last.image if last and last.image and alive else want.config.image),
        "imageID": (last.image_id if last else "") or view.images.get(want.config.image, ""),
        "restartCount": last.attempt if last else 0,
        "started": alive,
        "ready": alive if not init else bool(last and last.state is State.EXITED and last.exit_code == 0),
    }
    if last is not None:
        out["containerID"] = f"reconciler://{last.id}"
    ended = _last_ended(containers, want.config.name)
    if last is not None and alive:
        out["state"] = {"running": {"startedAt": timestamp(last.started_at or last.created_at)}}
    elif last is not None and last.state is State.EXITED and not _will_run_again(view.want, last, init=init):
        out["state"] = {"terminated": _terminated(last)}
        return out
    else:
        reason, message = _waiting(view, want, last, init=init)
        waiting = {"reason": reason}
        if message:
            waiting["message"] = message
        out["state"] = {"waiting": waiting}
    if ended is not None:
        out["lastState"] = {"terminated": _terminated(ended)}
    return out


def _will_run_again(want: Want, last: SeenContainer, *, init: bool) -> bool:
    if want.deleting:
        return False
    if init or want.restart_policy != "Always":
        return want.restart_policy != "Never" and last.exit_code != 0
    return True


def _waiting(view: PodView, want: WantContainer, last: SeenContainer | None, *, init: bool) -> tuple[str, str]:
    """The reason and message of a container that does not run (yet)."""
    if want.blocked is not None:
        return want.blocked.reason, want.blocked.message
    image = want.config.image
    shown = familiar(image)
    present = image in view.images
    if want.pull_policy == "Never" and not present:
        return "ErrImageNeverPull", f'Container image "{shown}" is not present with pull policy of Never'
    failure = view.failures.get(image)
    if failure is not None and (not present or want.pull_policy == "Always"):
        if view.now < failure.at + _FRESH_SECONDS or pull_due(failure, view.now) <= view.now:
            return failure.reason, failure.message
        return "ImagePullBackOff", f'Back-off pulling image "{shown}": {failure.reason}: {failure.message}'
    if (failure := view.failures.get(want.config.name)) is not None:
        return failure.reason, failure.message
    if last is not None and last.state is State.EXITED:
        delay = restart_delay_seconds(last, view.now)
        if delay > 0:
            pod = f"{view.want.ref.name}_{view.want.ref.namespace}"
            return "CrashLoopBackOff", f"back-off {delay:g}s restarting failed container={want.config.name} pod={pod}"
    if not init and view.want.init_containers and not _inits_done(view):
        return "PodInitializing", ""
    return "ContainerCreating", last.fault if last is not None else ""


def _terminated(container: SeenContainer) -> Status:
    code = container.exit_code if container.exit_code is not None else 255
    reason = "OOMKilled" if container.oom_killed else "Completed" if code == 0 else "Error"
    out: Status = {"exitCode": code, "reason": reason, "containerID": f"reconciler://{container.id}"}
    if container.message:
        out["message"] = container.message
    if container.started_at is not None:
        out["startedAt"] = timestamp(container.started_at)
    if container.finished_at is not None:
        out["finishedAt"] = timestamp(container.finished_at)
    return out


def _last_ended(containers: Iterable[SeenContainer], name: str) -> SeenContainer | None:
    ended = (c for c in containers if c.name == name and c.state is State.EXITED)
    return max(ended, key=lambda c: c.attempt, default=None)


# Pods


def _phase(view: PodView, before: str | None) -> str:
    """The order of the rules is kubelet's (getPhase)."""
    if before and (view.want.deleting or (before in ("Succeeded", "Failed") and _all_ended(view))):
        return before  # what goes away does not become Pending again
    containers = view.seen.containers if view.seen else ()
    policy = view.want.restart_policy
    for init in view.want.init_containers:
        last = newest(containers, init.config.name)
        if last is not None and last.state is State.EXITED and last.exit_code != 0 and policy == "Never":
            return "Failed"
    mains = [newest(containers, c.config.name) for c in view.want.containers]
    if view.want.init_containers and not _inits_done(view):
        return "Pending"
    if any(c is None or (c.state not in (*_ALIVE, State.EXITED) and c.attempt == 0) for c in mains):
        return "Pending"
    stopped = [c for c in mains if c is not None and c.state is State.EXITED]
    if len(stopped) < len(mains) or policy == "Always":
        return "Running"
    if all(c.exit_code == 0 for c in stopped):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _all_ended(view: PodView) -> bool:
    containers = view.seen.containers if view.seen else ()
    last = [newest(containers, c.config.name) for c in view.want.containers]
    return all(c is not None and c.state is State.EXITED for c in last)


def _inits_done(view: PodView) -> bool:
    containers = view.seen.containers if view.seen else ()
    mains = {c.config.name for c in view.want.containers}
    sandbox = view.seen.sandbox.id if view.seen and view.seen.sandbox else ""
    if any(c.name in mains and c.sandbox_id == sandbox for c in containers):
        return True
    last = [newest(containers, c.config.name) for c in view.want.init_containers]
    return all(c is not None and c.state is State.EXITED and c.exit_code == 0 for c in last)


def _sandbox_problem(view: PodView) -> tuple[str, str] | None:
    if view.want.blocked is not None:
        return view.want.blocked.reason, view.want.blocked.message
    if (failure := view.failures.get("")) is not None:
        return failure.reason, failure.message
    return None


def _conditions(
    view: PodView, phase: str, inits: list[Status], mains: list[Status], up: bool, before: Mapping[str, Any]
) -> list[Status]:
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    initialized = not inits or _inits_done(view)
    unready = [c["name"] for c in mains if not c["ready"]]
    pending = [c["name"] for c in inits if not c["ready"]]
    if ended is not None:
        not_ready = (ended, "")
    else:
        not_ready = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    ready = ended is None and not unready and up
    found = [
        ("PodReadyToStartContainers", up and ended is None, ("", "")),
        (
            "Initialized",
            initialized,
            ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(pending)}]"),
        ),
        ("Ready", ready, not_ready),
        ("ContainersReady", ready, not_ready),
        ("PodScheduled", True, ("", "")),
    ]
    return [
        _condition(kind, holds, *(("", "") if holds else why), before.get("conditions", ()), view.now)
        for kind, holds, why in found
    ]


def _condition(
    kind: str, holds: bool, reason: str, message: str, before: Iterable[Mapping[str, Any]], now: float
) -> Status:
    value = "True" if holds else "False"
    last = next((c for c in before if c["type"] == kind), None)
    moved = last is None or last["status"] != value
    out: Status = {
        "type": kind,
        "status": value,
        "lastTransitionTime": timestamp(now) if last is None or moved else last["lastTransitionTime"],
    }
    if reason:
        out["reason"] = reason
    if message:
        out["message"] = message
    return out


def _qos_class(pod: Pod) -> str:
    """Source: pkg/apis/core/v1/helper/qos."""
    guaranteed = True
    anything = False
    for container in (*(pod.spec.init_containers or ()), *pod.spec.containers):
        limits = (container.resources.limits if container.resources else None) or {}
        requests = (container.resources.requests if container.resources else None) or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name, "0"), requests.get(name, limits.get(name, "0"))
            anything = anything or limit != "0" or request != "0"
            guaranteed = guaranteed and limit != "0" and request == limit
    return "Guaranteed" if guaranteed and anything else "Burstable" if anything else "BestEffort"


# Workloads


def _ready(status: Mapping[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))


def _deployment_conditions(
    desired: int, ready: int, total: int, children: Sequence[Record], before: Mapping[str, Any], now: float
) -> list[Status]:
    available = ready >= desired
    complete = available and total == desired
    current = children[0].ref.name if children else ""
    last = before.get("conditions", ())
    return [
        _condition(
            "Available",
            available,
            "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            f"Deployment {'has' if available else 'does not have'} minimum availability.",
            last,
            now,
        ),
        _condition(
            "Progressing",
            True,
            "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
            f'ReplicaSet "{current}" {"has successfully progressed" if complete else "is progressing"}.',
            last,
            now,
        ),
    ]
