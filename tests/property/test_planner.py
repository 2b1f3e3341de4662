"""What holds for every plan: it converges, from any world, also when it is cut short anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.observed import SeenContainer, SeenPod, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, EmptyDir, SandboxConfig
from reconciler.plan import hashing
from reconciler.plan.check import check
from reconciler.plan.pods import Want, WantContainer, newest, plan_pod
from reconciler.plan.steps import CreateContainer, CreateSandbox, Plan, StartContainer, Step, Why
from reconciler.runtimes.fake import FakeRuntime

MINE, OTHER = Ref("Pod", "default", "mine"), Ref("Pod", "default", "other")
NAMES = ("a", "b", "c")


@dataclass
class Clock:
    at: float = 1000.0

    def now(self) -> float:
        return self.at


def want_of(containers: dict[str, str], policy: str, volumes: int, deleting: bool) -> Want:
    sandbox = SandboxConfig(MINE, volumes=tuple(EmptyDir(f"v{n}") for n in range(volumes)))
    return Want(
        ref=MINE,
        sandbox=sandbox,
        sandbox_hash=hashing.sandbox_hash(sandbox),
        volume_hashes={},
        containers=tuple(
            WantContainer(config, hashing.container_hash(config))
            for config in (ContainerConfig(name, image) for name, image in sorted(containers.items()))
        ),
        restart_policy=policy,
        deleting=deleting,
    )


wants = st.none() | st.builds(
    want_of,
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["img1", "img2"]), min_size=1),
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.integers(0, 2),
    st.booleans(),
)
damages = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["exit0", "exit1", "pause", "break", "created", "drift", "sandbox"]),
    ),
    max_size=4,
)


def damage(world: FakeRuntime, harm: list[tuple[str, str]], clock: Clock) -> None:
    """Hurt the containers of MINE as `harm` says."""
    for name, what in harm:
        pod = observe(world, MINE)
        if what == "sandbox" and pod is not None and pod.sandbox is not None:
            world.break_sandbox(pod.sandbox.id, "gone")
        last = newest(pod.containers, name) if pod else None
        if last is None:
            continue
        match what:
            case "exit0" | "exit1":
                world.change(last.id, state=State.EXITED, exit_code=int(what[-1]), finished_at=clock.at, started_at=0.0)
            case "pause":
                world.change(last.id, state=State.PAUSED)
            case "break":
                world.change(last.id, state=State.BROKEN, fault="harm")
            case "created":
                world.change(last.id, state=State.CREATED)
            case "drift":
                world.change(last.id, limits_drifted=True)


def observe(world: FakeRuntime, ref: Ref) -> SeenPod | None:
    return asyncio.run(world.observe(ref)).pods.get(ref)


def carry_out(world: FakeRuntime, steps: tuple[Step, ...]) -> None:
    async def run() -> None:
        for step in steps:
            await world.execute(step)

    asyncio.run(run())


def plan_now(world: FakeRuntime, want: Want | None, clock: Clock) -> Plan:
    seen = observe(world, MINE)
    plan = plan_pod(want, seen, now=clock.at, images=world.images)
    check(plan, want, seen)
    return plan


def converge(world: FakeRuntime, want: Want | None, clock: Clock) -> None:
    for _ in range(20):
        plan = plan_now(world, want, clock)
        if not plan.steps and plan.wake_at is None:
            return
        clock.at = plan.wake_at if plan.wake_at is not None else clock.at
        carry_out(world, plan.steps)
    raise AssertionError(f"does not converge; last plan:\n{plan}")


def other_pod(world: FakeRuntime) -> None:
    """A pod of somebody else, and one container of it that is dead."""
    sandbox = CreateSandbox("other-s", SandboxConfig(OTHER), "h", 0)
    made = CreateContainer("other-c", OTHER, "other-s", ContainerConfig("a", "img1"), "h", 0)
    for action in (sandbox, made, StartContainer("other-c")):
        carry_out(world, (Step(1, action, Why.ABSENT),))


def new_world() -> tuple[FakeRuntime, Clock]:
    clock = Clock()
    world = FakeRuntime(clock)
    world.images = {"img1": "sha256:1", "img2": "sha256:2"}
    return world, clock


def as_wanted(seen: SeenPod | None, want: Want | None) -> bool:
    if want is None or want.deleting:
        return seen is None
    if seen is None or seen.sandbox is None:
        return False
    lasts = [(newest(seen.containers, c.config.name), c) for c in want.containers]
    if want.restart_policy != "Always" and all(_over(last, want.restart_policy) for last, _ in lasts):
        return True
    return (
        not seen.sandbox.fault
        and seen.sandbox.spec_hash == want.sandbox_hash
        and all(
            last is not None
            and last.spec_hash == declared.spec_hash
            and last.sandbox_id == seen.sandbox.id
            and ((last.state is State.RUNNING and not last.limits_drifted) or _over(last, want.restart_policy))
            for last, declared in lasts
        )
        and {c.name for c in seen.containers} == {c.config.name for c in want.containers}
    )


def _over(last: SeenContainer | None, policy: str) -> bool:
    return (
        last is not None
        and last.state is State.EXITED
        and (policy == "Never" or (policy == "OnFailure" and last.exit_code == 0))
    )


@given(first=wants, harm=damages, then=wants)
@settings(max_examples=300, deadline=None)
def test_converges_from_any_world_and_is_idempotent(
    first: Want | None, harm: list[tuple[str, str]], then: Want | None
) -> None:
    world, clock = new_world()
    converge(world, first, clock)
    damage(world, harm, clock)
    converge(world, then, clock)
    assert as_wanted(observe(world, MINE), then)
    assert not plan_now(world, then, clock).steps


@given(first=wants, harm=damages, then=wants, crash_after=st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_converges_even_if_killed_between_any_two_steps(
    first: Want | None, harm: list[tuple[str, str]], then: Want | None, crash_after: int
) -> None:
    world, clock = new_world()
    converge(world, first, clock)
    damage(world, harm, clock)
    carry_out(world, plan_now(world, then, clock).steps[:crash_after])
    converge(world, then, clock)
    assert as_wanted(observe(world, MINE), then)


@given(first=wants, harm=damages, then=wants)
@settings(max_examples=200, deadline=None)
def test_never_touches_what_is_of_another_pod(
    first: Want | None, harm: list[tuple[str, str]], then: Want | None
) -> None:
    world, clock = new_world()
    other_pod(world)
    before = observe(world, OTHER)
    converge(world, first, clock)
    damage(world, harm, clock)
    converge(world, then, clock)
    assert observe(world, OTHER) == before


@given(wanted=wants, harm=damages)
@settings(max_examples=300, deadline=None)
def test_never_touches_the_healthy(wanted: Want | None, harm: list[tuple[str, str]]) -> None:
    world, clock = new_world()
    converge(world, wanted, clock)
    damage(world, [h for h in harm if h[1] != "sandbox"], clock)
    seen = observe(world, MINE)
    healthy = {c.id for c in seen.containers if c.state is State.RUNNING and not c.limits_drifted} if seen else set()
    converge(world, wanted, clock)
    after = observe(world, MINE)
    still = {c.id for c in after.containers if c.state is State.RUNNING} if after else set()
    assert healthy <= still


@given(wanted=wants, harm=damages)
@settings(max_examples=200, deadline=None)
def test_the_order_of_what_is_seen_does_not_matter(wanted: Want | None, harm: list[tuple[str, str]]) -> None:
    world, clock = new_world()
    converge(world, wanted, clock)
    damage(world, harm, clock)
    seen = observe(world, MINE)
    if seen is not None:
        turned = replace(seen, containers=tuple(reversed(seen.containers)))
        plans = [plan_pod(wanted, s, now=clock.at, images=world.images) for s in (seen, turned)]
        assert str(plans[0]) == str(plans[1])
