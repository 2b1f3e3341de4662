"""Steps as events: what `describe` and `events` tell of a plan that is carried out. Pure.

Reasons and sentences are kubelet's, so that what people know (and match) keeps working.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.control.executor import Outcome
from reconciler.model.ref import Ref
from reconciler.model.reference import familiar
from reconciler.plan.steps import (
    CreateContainer,
    CreateSandbox,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    RestoreLimits,
    ResumeContainer,
    StartContainer,
    Step,
    StopContainer,
    UpdateVolume,
    Why,
)

_KILLING = {
    Why.SPEC_CHANGED: "Container {} definition changed, it will be restarted",
    Why.SANDBOX_CHANGED: "Stopping container {}: the pod's definition changed, it will be restarted",
    Why.BROKEN: "Stopping container {}: what it stands on is broken, it will be restarted",
}


@dataclass(frozen=True, slots=True)
class Narration:
    reason: str
    message: str
    warning: bool = False


def subject_of(step: Step, names: dict[str, str]) -> str | None:
    """What a failure of `step` is counted against: an image, a container name, "" for the sandbox,
    None for steps that are simply tried again. `names` maps container ids to names."""
    match step.action:
        case PullImage(image=image):
            return image
        case CreateContainer(config=config):
            return config.name
        case StartContainer(id=identity):
            return names.get(identity)
        case CreateSandbox() | UpdateVolume():
            return ""
        case _:
            return None


def makes_good(step: Step) -> bool:
    """Whether the success of `step` ends the failures that are counted against its subject.
    A container that can be made may still fail to start."""
    return not isinstance(step.action, CreateContainer)


def names_in(plan: Plan) -> dict[str, str]:
    """Container ids to names, of the containers that `plan` makes."""
    return {s.action.id: s.action.config.name for s in plan.steps if isinstance(s.action, CreateContainer)}


def at_begin(step: Step, names: dict[str, str]) -> Narration | None:
    """What to say when a step begins."""
    match step.action:
        case PullImage(image=image):
            return Narration("Pulling", f'Pulling image "{familiar(image)}"')
        case StopContainer(id=identity):
            sentence = _KILLING.get(step.why, "Stopping container {}")
            return Narration("Killing", sentence.format(names.get(identity, identity[:12])))
        case RemoveSandbox() if step.why is Why.BROKEN:
            return Narration("SandboxChanged", "Pod sandbox is broken, it will be killed and re-created.", True)
        case RemoveContainer(id=identity) if step.why is Why.BROKEN:
            return Narration(
                "Broken", f"Container {names.get(identity, identity[:12])} is broken, it is replaced", True
            )
        case _:
            return None


def at_end(outcome: Outcome, names: dict[str, str]) -> Narration | None:
    """What to say when a step has ended; nothing for one that was skipped."""
    if outcome.error is not None:
        return _failed(outcome, names)
    if outcome.said is None:
        return None
    match outcome.step.action:
        case PullImage(image=image):
            said = outcome.said or f"in {outcome.seconds:.3g}s"
            return Narration("Pulled", f'Successfully pulled image "{familiar(image)}" {said}')
        case CreateContainer(config=config):
            return Narration("Created", f"Created container {config.name}")
        case StartContainer(id=identity):
            return Narration("Started", f"Started container {names.get(identity, identity[:12])}")
        case ResumeContainer(id=identity):
            return Narration(
                "Resumed", f"Container {names.get(identity, identity[:12])} was paused; it runs again", True
            )
        case RestoreLimits(id=identity):
            name = names.get(identity, identity[:12])
            return Narration(
                "LimitsRestored", f"Container {name} had other resource limits than declared; restored", True
            )
        case UpdateVolume(name=name):
            return Narration("VolumeUpdated", f'Volume "{name}" has its new content')
        case _:
            return None


def back_offs(pod: Ref, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Narration]:
    """What to say of containers that began to wait between two statuses of a pod."""
    waited = {status["name"]: _waits_for(status) for status in _containers(before)}
    for status in _containers(after):
        name, reason = status["name"], _waits_for(status)
        if reason == waited.get(name):
            continue
        if reason == "CrashLoopBackOff":
            message = f"Back-off restarting failed container {name} in pod {pod.name}_{pod.namespace}"
            yield Narration("BackOff", message, True)
        elif reason == "ImagePullBackOff":
            yield Narration("BackOff", f'Back-off pulling image "{status["image"]}"', True)


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())


def _waits_for(status: Mapping[str, Any]) -> str:
    return str(status["state"].get("waiting", {}).get("reason", ""))


def _failed(outcome: Outcome, names: dict[str, str]) -> Narration:
    error = outcome.error
    assert error is not None
    match outcome.step.action:
        case PullImage(image=image):
            return Narration("Failed", f'Failed to pull image "{familiar(image)}": {error}', True)
        case CreateSandbox():
            reason = error.reason if error.reason in ("FailedMount", "HostPortConflict") else "FailedCreatePodSandBox"
            return Narration(reason, str(error), True)
        case UpdateVolume():
            return Narration("FailedMount", str(error), True)
        case CreateContainer() | StartContainer():
            return Narration("Failed", f"Error: {error}", True)
        case StopContainer() | RemoveContainer() | RemoveSandbox():
            return Narration("FailedKillPod", str(error), True)
        case _:
            return Narration(error.reason, str(error), True)
