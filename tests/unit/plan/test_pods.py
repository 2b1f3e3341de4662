"""The node planner as a table: what should be, what is there, when it is, and the plan as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from reconciler.model.observed import SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, File, Files, Mount, SandboxConfig
from reconciler.plan import hashing
from reconciler.plan.check import check
from reconciler.plan.pods import Blocked, Want, WantContainer, plan_pod
from reconciler.plan.restart import Failure

REF = Ref("Pod", "default", "web")
IMAGES = {"img": "sha256:1"}


def container(name: str = "main", image: str = "img", **more: object) -> WantContainer:
    config = ContainerConfig(name, image)
    return WantContainer(config, f"h-{name}", **more)  # type: ignore[arg-type]


def want(*containers: WantContainer, **more: object) -> Want:
    sandbox = SandboxConfig(REF)
    fields = {"volume_hashes": {}, "containers": containers or (container(),), **more}
    return Want(REF, sandbox, "hs", **fields)  # type: ignore[arg-type]


SANDBOX = SeenSandbox("s0", "hs")
UP = SeenContainer("c0", "main", "s0", "h-main", State.RUNNING, started_at=0)
DEAD = replace(UP, state=State.EXITED, exit_code=1, finished_at=100.0)


def seen(*containers: SeenContainer, sandbox: SeenSandbox | None = SANDBOX) -> SeenPod:
    return SeenPod(REF, sandbox, containers)


S0 = hashing.sandbox_id(REF, 0)
S1 = hashing.sandbox_id(REF, 1)


def made(sandbox: str, attempt: int, name: str = "main") -> str:
    return hashing.container_id(sandbox, name, attempt)


NEW = f"""\
[] -> #1 CreateSandbox(id='{S0}', spec_hash='hs', attempt=0), Absent
[1] -> #2 CreateContainer(id='{made(S0, 0)}', sandbox_id='{S0}', spec_hash='h-main', attempt=0, backoff_level=0), Absent
[2] -> #3 StartContainer(id='{made(S0, 0)}'), Absent"""


def again(number: int, after: list[int], attempt: int, why: str, level: int = 0) -> str:
    identity = made("s0", attempt)
    return (
        f"{after} -> #{number} CreateContainer(id='{identity}', sandbox_id='s0', spec_hash='h-main', "
        f"attempt={attempt}, backoff_level={level}), {why}\n"
        f"[{number}] -> #{number + 1} StartContainer(id='{identity}'), {why}"
    )


CASES = [
    pytest.param(want(), None, 0, {}, NEW, id="absent: make it"),
    pytest.param(want(), seen(UP), 0, {}, "nothing to do", id="in sync"),
    pytest.param(want(), seen(), 0, {}, again(1, [], 0, "Absent"), id="only the container is absent"),
    pytest.param(
        want(), seen(replace(UP, state=State.CREATED)), 0, {}, "[] -> #1 StartContainer(id='c0'), Absent",
        id="killed between create and start",
    ),
    pytest.param(want(), seen(DEAD), 100, {}, again(1, [], 1, "Exited", 1), id="first crash: at once"),
    pytest.param(
        want(), seen(replace(DEAD, attempt=1, backoff_level=1)), 105, {}, "nothing to do\nagain at 110",
        id="second crash: 10 s",
    ),
    pytest.param(
        want(), seen(replace(DEAD, attempt=1, backoff_level=1)), 110, {}, again(1, [], 2, "Exited", 2),
        id="second crash: after 10 s",
    ),
    pytest.param(
        want(), seen(replace(DEAD, backoff_level=9)), 399, {}, "nothing to do\nagain at 400", id="the cap is 300 s"
    ),
    pytest.param(
        want(), seen(replace(DEAD, backoff_level=5, started_at=0.0, finished_at=600.0)), 600, {},
        again(1, [], 1, "Exited", 1), id="10 minutes of clean running reset the back-off",
    ),
    pytest.param(
        want(), seen(replace(DEAD, exit_code=0)), 100, {}, again(1, [], 1, "Exited", 1), id="exit 0 counts too"
    ),
    pytest.param(want(restart_policy="Never"), seen(DEAD), 100, {}, "nothing to do", id="Never"),
    pytest.param(
        want(restart_policy="OnFailure"), seen(DEAD), 100, {}, again(1, [], 1, "Exited", 1), id="OnFailure: failed"
    ),
    pytest.param(
        want(restart_policy="OnFailure"), seen(replace(DEAD, exit_code=0)), 100, {}, "nothing to do",
        id="OnFailure: done",
    ),
    pytest.param(
        want(restart_policy="Never"), seen(DEAD, sandbox=replace(SANDBOX, fault="netns gone")), 100, {},
        "nothing to do", id="a pod that ended is not rebuilt",
    ),
    pytest.param(
        want(), seen(replace(UP, state=State.PAUSED)), 0, {}, "[] -> #1 ResumeContainer(id='c0'), Paused", id="paused"
    ),
    pytest.param(
        want(), seen(replace(UP, limits_drifted=True)), 0, {}, "[] -> #1 RestoreLimits(id='c0'), Drifted",
        id="limits changed by hand",
    ),
    pytest.param(
        want(), seen(replace(UP, state=State.BROKEN, fault="removed by hand")), 0, {},
        "[] -> #1 RemoveContainer(id='c0'), Broken\n" + again(2, [1], 1, "Broken", 1), id="removed by hand",
    ),
    pytest.param(
        want(), seen(replace(UP, spec_hash="old")), 0, {},
        "[] -> #1 StopContainer(id='c0', grace_seconds=30.0), SpecChanged\n"
        "[1] -> #2 RemoveContainer(id='c0'), SpecChanged\n" + again(3, [2], 1, "SpecChanged"),
        id="spec changed: replace the container",
    ),
    pytest.param(
        want(container(image="new")), seen(replace(UP, spec_hash="old")), 0, {},
        "[] -> #1 PullImage(image='new'), Absent\n"
        "[1] -> #2 StopContainer(id='c0', grace_seconds=30.0), SpecChanged\n"
        "[2] -> #3 RemoveContainer(id='c0'), SpecChanged\n" + again(4, [3], 1, "SpecChanged"),
        id="spec changed: the old one runs until the image is there",
    ),
    pytest.param(
        want(container(image="new")), seen(replace(UP, spec_hash="old")), 5,
        {"new": Failure("ErrImagePull", "", 1, 0)}, "nothing to do\nagain at 10",
        id="spec changed: the image cannot be had, the old one goes on",
    ),
    pytest.param(
        want(container(blocked=Blocked("CreateContainerConfigError", "no such key"))),
        seen(replace(UP, spec_hash="old")), 0, {}, "nothing to do", id="blocked: the old one goes on",
    ),
    pytest.param(
        want(), seen(UP, sandbox=replace(SANDBOX, fault="netns gone")), 0, {},
        "[] -> #1 StopContainer(id='c0', grace_seconds=30.0), Broken\n"
        "[1] -> #2 RemoveContainer(id='c0'), Broken\n"
        "[2] -> #3 RemoveSandbox(id='s0'), Broken\n"
        f"[3] -> #4 CreateSandbox(id='{S1}', spec_hash='hs', attempt=1), Broken\n"
        f"[4] -> #5 CreateContainer(id='{made(S1, 1)}', sandbox_id='{S1}', spec_hash='h-main', attempt=1, "
        "backoff_level=0), Broken\n"
        f"[5] -> #6 StartContainer(id='{made(S1, 1)}'), Broken",
        id="sandbox destroyed: rebuild",
    ),
    pytest.param(
        want(), seen(UP, sandbox=replace(SANDBOX, spec_hash="old")), 0, {},
        "[] -> #1 StopContainer(id='c0', grace_seconds=30.0), SandboxChanged\n"
        "[1] -> #2 RemoveContainer(id='c0'), SandboxChanged\n"
        "[2] -> #3 RemoveSandbox(id='s0'), SandboxChanged\n"
        f"[3] -> #4 CreateSandbox(id='{S1}', spec_hash='hs', attempt=1), SpecChanged\n"
        f"[4] -> #5 CreateContainer(id='{made(S1, 0)}', sandbox_id='{S1}', spec_hash='h-main', attempt=0, "
        "backoff_level=0), SpecChanged\n"
        f"[5] -> #6 StartContainer(id='{made(S1, 0)}'), SpecChanged",
        id="sandbox declared otherwise: replace all",
    ),
    pytest.param(
        want(container(image="new")), seen(UP, sandbox=replace(SANDBOX, spec_hash="old")), 5,
        {"new": Failure("ErrImagePull", "", 1, 0)}, "nothing to do\nagain at 10",
        id="sandbox declared otherwise: the old one goes on until the image is there",
    ),
    pytest.param(
        want(deleting=True, grace_seconds=5.0), seen(UP), 0, {},
        "[] -> #1 StopContainer(id='c0', grace_seconds=5.0), Undeclared\n"
        "[1] -> #2 RemoveContainer(id='c0'), Undeclared\n"
        "[2] -> #3 RemoveSandbox(id='s0'), Undeclared",
        id="deleted",
    ),
    pytest.param(
        None, seen(replace(UP, state=State.PAUSED), sandbox=None), 0, {},
        "[] -> #1 ResumeContainer(id='c0'), Undeclared\n"
        "[1] -> #2 StopContainer(id='c0', grace_seconds=30.0), Undeclared\n"
        "[2] -> #3 RemoveContainer(id='c0'), Undeclared",
        id="orphan without a sandbox, paused",
    ),
    pytest.param(
        None, seen(UP, sandbox=replace(SANDBOX, grace_seconds=3.0)), 0, {},
        "[] -> #1 StopContainer(id='c0', grace_seconds=3.0), Undeclared\n"
        "[1] -> #2 RemoveContainer(id='c0'), Undeclared\n"
        "[2] -> #3 RemoveSandbox(id='s0'), Undeclared",
        id="orphan: the grace it was declared with",
    ),
    pytest.param(None, None, 0, {}, "nothing to do", id="nothing wanted, nothing there"),
    pytest.param(
        want(), seen(UP, replace(UP, id="x", name="old")), 0, {},
        "[] -> #1 StopContainer(id='x', grace_seconds=30.0), Undeclared\n"
        "[1] -> #2 RemoveContainer(id='x'), Undeclared",
        id="a container that is no longer in the pod",
    ),
    pytest.param(
        want(), seen(replace(DEAD, id="a"), replace(DEAD, id="b", attempt=1), replace(UP, attempt=2)), 500, {},
        "[] -> #1 RemoveContainer(id='a'), Superseded", id="one dead container is kept for its log",
    ),
    pytest.param(
        want(container(image="new", pull_policy="Never")), seen(), 0, {}, "nothing to do", id="absent image, Never"
    ),
    pytest.param(
        want(container(pull_policy="Always")), seen(), 0, {},
        "[] -> #1 PullImage(image='img'), Absent\n" + again(2, [1], 0, "Absent"), id="Always asks the registry",
    ),
    pytest.param(
        want(), None, 1, {"": Failure("FailedCreatePodSandBox", "", 2, 0)}, "nothing to do\nagain at 2",
        id="sandbox failed twice: 2 s",
    ),
    pytest.param(
        want(), seen(), 1, {"main": Failure("CreateContainerError", "", 3, 0)}, "nothing to do\nagain at 4",
        id="container failed three times: 4 s",
    ),
    pytest.param(
        want(), seen(replace(UP, state=State.CREATED)), 1, {"main": Failure("RunContainerError", "", 3, 0)},
        "nothing to do\nagain at 4", id="start failed three times: 4 s",
    ),
    pytest.param(
        want(init_containers=(container("first"), container("second"))), seen(), 0, {},
        again(1, [], 0, "Absent").replace(made("s0", 0), made("s0", 0, "first")).replace("h-main", "h-first"),
        id="init containers come one by one",
    ),
    pytest.param(
        want(init_containers=(container("first"),)),
        seen(replace(DEAD, id="i", name="first", spec_hash="h-first", exit_code=0)), 100, {},
        again(1, [], 0, "Absent"), id="init done: the main containers",
    ),
    pytest.param(
        want(init_containers=(container("first"),), restart_policy="Never"),
        seen(replace(DEAD, id="i", name="first", spec_hash="h-first")), 100, {}, "nothing to do",
        id="init failed, Never: the pod failed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "there", "now", "failures", "expected"), CASES)
def test_plan_pod(
    wanted: Want | None, there: SeenPod | None, now: float, failures: Mapping[str, Failure], expected: str
) -> None:
    plan = plan_pod(wanted, there, now=now, images=IMAGES, failures=failures)
    assert str(plan) == expected
    check(plan, wanted, there)


def test_new_content_of_a_volume_is_published_before_its_container_is_replaced() -> None:
    volume = Files("conf", (File("a", b"new"),))
    config = ContainerConfig("main", "img", mounts=(Mount("conf", "/etc/conf"),))
    wanted = Want(
        REF, SandboxConfig(REF, volumes=(volume,)), "hs", {"conf": "v-new"}, (WantContainer(config, "h-new"),)
    )
    plan = plan_pod(wanted, seen(UP, sandbox=replace(SANDBOX, volume_hashes={"conf": "v-old"})), now=0, images=IMAGES)
    assert [type(step.action).__name__ for step in plan.steps] == [
        "UpdateVolume", "StopContainer", "RemoveContainer", "CreateContainer", "StartContainer",
    ]  # fmt: skip
    assert plan.steps[1].after == (1,)


def test_two_containers_with_one_absent_image_pull_it_once() -> None:
    plan = plan_pod(want(container("a", "new"), container("b", "new")), None, now=0, images={})
    assert str(plan).count("PullImage") == 1
