"""The last look at a plan: each thing that no plan may do, and that it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.errors import TerminalError
from reconciler.model.observed import SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, Files, SandboxConfig
from reconciler.plan.check import check
from reconciler.plan.pods import Want, WantContainer
from reconciler.plan.steps import (
    Action,
    CreateContainer,
    CreateSandbox,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    ResumeContainer,
    StartContainer,
    Step,
    StopContainer,
    UpdateVolume,
    Why,
)

REF = Ref("Pod", "default", "web")
CONFIG = ContainerConfig("main", "img")
WANT = Want(REF, SandboxConfig(REF), "hs", {}, (WantContainer(CONFIG, "h"),))
SANDBOX = SeenSandbox("s0", "hs")
UP = SeenContainer("c0", "main", "s0", "h", State.RUNNING)
SEEN = SeenPod(REF, SANDBOX, (UP,))
NEW_SANDBOX = CreateSandbox("s1", SandboxConfig(REF), "hs", 1)


def make(identity: str, sandbox: str) -> CreateContainer:
    return CreateContainer(identity, REF, sandbox, CONFIG, "h", 0)


def plan(*actions: Action) -> Plan:
    return Plan(tuple(Step(n, action, Why.ABSENT) for n, action in enumerate(actions, 1)))


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        pytest.param([StopContainer("x", 1)], "not of this pod", id="stops another's container"),
        pytest.param([RemoveContainer("x")], "not of this pod", id="removes another's container"),
        pytest.param([StartContainer("x")], "not of this pod", id="starts another's container"),
        pytest.param([RemoveSandbox("x")], "not of this pod", id="removes another's sandbox"),
        pytest.param([UpdateVolume("x", Files("v"), "v", "h")], "not of this pod", id="writes another's volume"),
        pytest.param([make("c1", "x")], "does not belong", id="makes a container in another's sandbox"),
        pytest.param([make("c0", "s0")], "does not belong", id="makes a container that is there"),
        pytest.param([StopContainer("c0", 1)], "healthy", id="stops what is healthy"),
        pytest.param([RemoveContainer("c0")], "healthy", id="removes what is healthy"),
        pytest.param(
            [RemoveSandbox("s0"), make("c1", "s0")], "does not belong", id="makes a container in what is gone"
        ),
    ],
)
def test_refused(actions: list[Action], words: str) -> None:
    with pytest.raises(TerminalError, match=words) as caught:
        check(plan(*actions), WANT, SEEN)
    assert caught.value.reason == "PlanRefused"


@pytest.mark.parametrize(
    "steps",
    [
        (Step(2, PullImage("img"), Why.ABSENT),),
        (Step(1, PullImage("img"), Why.ABSENT, (1,)),),
        (Step(1, PullImage("img"), Why.ABSENT, (2,)), Step(2, PullImage("img"), Why.ABSENT)),
    ],
)
def test_steps_out_of_order_are_refused(steps: tuple[Step, ...]) -> None:
    with pytest.raises(TerminalError, match="out of order"):
        check(Plan(steps), WANT, SEEN)


TEARDOWN = plan(StopContainer("c0", 1), RemoveContainer("c0"), RemoveSandbox("s0"))


@pytest.mark.parametrize(
    ("given", "want", "seen"),
    [
        pytest.param(plan(PullImage("img"), NEW_SANDBOX, make("c1", "s1"), StartContainer("c1")), WANT, None, id="new"),
        pytest.param(TEARDOWN, None, SEEN, id="undeclared"),
        pytest.param(TEARDOWN, replace(WANT, deleting=True), SEEN, id="deleted"),
        pytest.param(TEARDOWN, replace(WANT, sandbox_hash="new"), SEEN, id="another sandbox"),
        pytest.param(TEARDOWN, WANT, replace(SEEN, sandbox=replace(SANDBOX, fault="gone")), id="broken sandbox"),
        pytest.param(
            plan(RemoveContainer("c0"), make("c0", "s0")),
            WANT,
            replace(SEEN, containers=(replace(UP, state=State.EXITED),)),
            id="anew under the same name",
        ),
        pytest.param(
            plan(StopContainer("c0", 1)), WANT, replace(SEEN, containers=(replace(UP, spec_hash="old"),)), id="old spec"
        ),
        pytest.param(plan(ResumeContainer("c0")), WANT, SEEN, id="what does no harm"),
        pytest.param(
            plan(RemoveContainer("c0")),
            WANT,
            replace(SEEN, containers=(UP, replace(UP, id="c1", attempt=1))),
            id="a superseded attempt",
        ),
    ],
)
def test_accepted(given: Plan, want: Want | None, seen: SeenPod | None) -> None:
    check(given, want, seen)
