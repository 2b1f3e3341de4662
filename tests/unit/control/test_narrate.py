"""What is told of steps: kubelet's reasons and sentences."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.control.executor import Outcome
from reconciler.control.narrate import Narration, at_begin, at_end, back_offs, makes_good, names_in, subject_of
from reconciler.errors import ConflictError, ReconcilerError, TerminalError, TransientError
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, Files, SandboxConfig
from reconciler.plan.steps import (
    Action,
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

REF = Ref("Pod", "default", "web")
NAMES = {"c0": "main"}
PULL = PullImage("docker.io/library/web:1")
SANDBOX = CreateSandbox("s0", SandboxConfig(REF), "h", 0)
CREATE = CreateContainer("c0", REF, "s0", ContainerConfig("main", "web"), "h", 0)
UPDATE = UpdateVolume("s0", Files("conf"), "conf", "h")


@pytest.mark.parametrize(
    ("action", "why", "expected"),
    [
        (PULL, Why.ABSENT, Narration("Pulling", 'Pulling image "web:1"')),
        (
            StopContainer("c0", 30),
            Why.SPEC_CHANGED,
            Narration("Killing", "Container main definition changed, it will be restarted"),
        ),
        (
            StopContainer("c0", 30),
            Why.SANDBOX_CHANGED,
            Narration("Killing", "Stopping container main: the pod's definition changed, it will be restarted"),
        ),
        (
            StopContainer("c0", 30),
            Why.BROKEN,
            Narration("Killing", "Stopping container main: what it stands on is broken, it will be restarted"),
        ),
        (StopContainer("c0", 30), Why.UNDECLARED, Narration("Killing", "Stopping container main")),
        (
            StopContainer("0123456789abcdef", 30),
            Why.UNDECLARED,
            Narration("Killing", "Stopping container 0123456789ab"),
        ),
        (
            RemoveSandbox("s0"),
            Why.BROKEN,
            Narration("SandboxChanged", "Pod sandbox is broken, it will be killed and re-created.", True),
        ),
        (RemoveSandbox("s0"), Why.UNDECLARED, None),
        (RemoveContainer("c0"), Why.BROKEN, Narration("Broken", "Container main is broken, it is replaced", True)),
        (RemoveContainer("c0"), Why.SUPERSEDED, None),
        (SANDBOX, Why.ABSENT, None),
        (CREATE, Why.ABSENT, None),
        (StartContainer("c0"), Why.ABSENT, None),
    ],
)
def test_at_begin(action: Action, why: Why, expected: Narration | None) -> None:
    assert at_begin(Step(1, action, why), NAMES) == expected


@pytest.mark.parametrize(
    ("action", "said", "expected"),
    [
        (PULL, "in 1s", Narration("Pulled", 'Successfully pulled image "web:1" in 1s')),
        (PULL, "", Narration("Pulled", 'Successfully pulled image "web:1" in 2.5s')),
        (CREATE, "", Narration("Created", "Created container main")),
        (StartContainer("c0"), "", Narration("Started", "Started container main")),
        (
            ResumeContainer("c0"),
            "",
            Narration("Resumed", "Container main was paused; it runs again", True),
        ),
        (
            RestoreLimits("c0"),
            "",
            Narration("LimitsRestored", "Container main had other resource limits than declared; restored", True),
        ),
        (UPDATE, "", Narration("VolumeUpdated", 'Volume "conf" has its new content')),
        (SANDBOX, "", None),
        (StopContainer("c0", 1), "", None),
        (RemoveContainer("c0"), "", None),
        (RemoveSandbox("s0"), "", None),
    ],
)
def test_at_the_end_of_a_good_step(action: Action, said: str, expected: Narration | None) -> None:
    assert at_end(Outcome(Step(1, action, Why.ABSENT), said, seconds=2.5), NAMES) == expected


FULL = TerminalError("no space left", reason="NoSpace")


@pytest.mark.parametrize(
    ("action", "error", "reason", "message"),
    [
        (
            PULL,
            TransientError("not found", reason="ErrImagePull"),
            "Failed",
            'Failed to pull image "web:1": not found',
        ),
        (SANDBOX, FULL, "FailedCreatePodSandBox", "no space left"),
        (SANDBOX, ConflictError("80 is held", reason="HostPortConflict"), "HostPortConflict", "80 is held"),
        (SANDBOX, TerminalError("no file", reason="FailedMount"), "FailedMount", "no file"),
        (UPDATE, FULL, "FailedMount", "no space left"),
        (CREATE, TerminalError("no command", reason="CreateContainerError"), "Failed", "Error: no command"),
        (StartContainer("c0"), FULL, "Failed", "Error: no space left"),
        (StopContainer("c0", 1), FULL, "FailedKillPod", "no space left"),
        (RemoveContainer("c0"), FULL, "FailedKillPod", "no space left"),
        (RemoveSandbox("s0"), FULL, "FailedKillPod", "no space left"),
        (ResumeContainer("c0"), FULL, "NoSpace", "no space left"),
    ],
)
def test_at_the_end_of_a_failed_step(action: Action, error: ReconcilerError, reason: str, message: str) -> None:
    told = at_end(Outcome(Step(1, action, Why.ABSENT), error=error), NAMES)
    assert told == Narration(reason, message, True)


def test_a_skipped_step_is_not_told_of() -> None:
    assert at_end(Outcome(Step(1, CREATE, Why.ABSENT)), NAMES) is None


@pytest.mark.parametrize(
    ("action", "subject", "good"),
    [
        (PULL, "docker.io/library/web:1", True),
        (CREATE, "main", False),
        (StartContainer("c0"), "main", True),
        (StartContainer("unknown"), None, True),
        (SANDBOX, "", True),
        (UPDATE, "", True),
        (StopContainer("c0", 1), None, True),
        (RemoveContainer("c0"), None, True),
        (RemoveSandbox("s0"), None, True),
    ],
)
def test_what_a_failure_is_counted_against(action: Action, subject: str | None, good: bool) -> None:
    step = Step(1, action, Why.ABSENT)
    assert subject_of(step, NAMES) == subject
    assert makes_good(step) == good


def test_the_names_of_containers_that_a_plan_makes() -> None:
    assert names_in(Plan((Step(1, PULL, Why.ABSENT), Step(2, CREATE, Why.ABSENT)))) == NAMES


def status(**reasons: str) -> dict[str, Any]:
    waiting = {"c": {"waiting": {"reason": reasons.get("main", "")}}, "r": {"running": {}}}
    main = {"name": "main", "image": "web:1", "state": waiting["c" if "main" in reasons else "r"]}
    init = {"name": "init", "image": "init:1", "state": {"waiting": {"reason": reasons.get("init", "")}}}
    return {"initContainerStatuses": [init], "containerStatuses": [main]}


CRASHES = Narration("BackOff", "Back-off restarting failed container main in pod web_default", True)
PULLS = Narration("BackOff", 'Back-off pulling image "web:1"', True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, status(main="CrashLoopBackOff"), [CRASHES]),
        (status(), status(main="CrashLoopBackOff"), [CRASHES]),
        (status(main="CrashLoopBackOff"), status(main="CrashLoopBackOff"), []),
        (status(main="CrashLoopBackOff"), status(), []),
        (status(main="ErrImagePull"), status(main="ImagePullBackOff"), [PULLS]),
        (status(main="ContainerCreating"), status(main="ErrImagePull"), []),
        (
            status(),
            status(init="CrashLoopBackOff", main="PodInitializing"),
            [Narration("BackOff", "Back-off restarting failed container init in pod web_default", True)],
        ),
    ],
)
def test_beginning_to_wait_is_told_once(
    before: dict[str, Any], after: dict[str, Any], expected: list[Narration]
) -> None:
    assert list(back_offs(REF, before, after)) == expected
