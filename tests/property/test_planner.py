"""What holds for every plan: it converges, from any world, also when it is cut short anywhere."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.control.narrate import subject_of
from reconciler.errors import ReconcilerError
from reconciler.model.observed import SeenContainer, SeenPod, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, EmptyDir, File, Files, Mount, SandboxConfig
from reconciler.plan import hashing
from reconciler.plan.check import check
from reconciler.plan.pods import Blocked, Want, WantContainer, as_declared, newest, plan_pod
from reconciler.plan.restart import Failure
from reconciler.plan.steps import (
    CreateContainer,
    CreateSandbox,
    Plan,
    StartContainer,
    Step,
    StopContainer,
    UpdateVolume,
    Why,
)
from reconciler.runtimes.fake import FakeRuntime

T = TypeVar("T")
MINE, OTHER = Ref("Pod", "default", "mine"), Ref("Pod", "default", "other")
NAMES, INITS = ("a", "b", "c"), ("i", "j")


@dataclass
class Clock:
    at: float = 1000.0

    def now(self) -> float:
        return self.at


BLOCKED = Blocked("CreateContainerConfigError", "no such key")
CONTENTS = {"old": Files("conf", (File("a", b"old"),)), "new": Files("conf", (File("a", b"new"),))}


def container(name: str, image: str, pull: str, content: str | None) -> WantContainer:
    """`content` is that of the Files volume, when it mounts it."""
    mounts = (Mount("conf", "/conf"),) if content else ()
    files = hashing.files_hash([CONTENTS[content]]) if content else ""
    config = ContainerConfig(name, image, mounts=mounts, files_hash=files)
    blocked = BLOCKED if image == "blocked" else None
    return WantContainer(config, hashing.container_hash(config), pull, blocked)


def want_of(
    containers: dict[str, tuple[str, str, bool]],
    inits: dict[str, str],
    policy: str,
    volumes: int,
    content: str | None,
    deleting: bool,
) -> Want:
    """Containers are (image, pull policy, whether it mounts the Files volume), init containers their image, by name."""
    files = (CONTENTS[content],) if content else ()
    sandbox = SandboxConfig(MINE, volumes=(*(EmptyDir(f"v{n}") for n in range(volumes)), *files))
    first = tuple(container(name, image, "IfNotPresent", None) for name, image in sorted(inits.items()))
    return Want(
        ref=MINE,
        sandbox=sandbox,
        sandbox_hash=hashing.sandbox_hash(sandbox, [init.spec_hash for init in first]),
        volume_hashes={v.name: hashing.volume_hash(v) for v in files},
        containers=tuple(
            container(name, image, pull, content if mounts else None)
            for name, (image, pull, mounts) in sorted(containers.items())
        ),
        init_containers=first,
        restart_policy=policy,
        deleting=deleting,
    )


def wanted(images: st.SearchStrategy[str]) -> st.SearchStrategy[Want | None]:
    return st.none() | st.builds(
        want_of,
        st.dictionaries(
            st.sampled_from(NAMES),
            st.tuples(images, st.sampled_from(["IfNotPresent", "Always", "Never"]), st.booleans()),
            min_size=1,
        ),
        st.dictionaries(st.sampled_from(INITS), images, max_size=2),
        st.sampled_from(["Always", "OnFailure", "Never"]),
        st.integers(0, 2),
        st.sampled_from([None, "old", "new"]),
        st.booleans(),
    )


wants = wanted(st.sampled_from(["img1", "img2"]))
unmakeable = wanted(st.sampled_from(["img1", "absent", "nowhere", "blocked"]))  # only to be pulled; not even that; ...
damages = st.lists(
    st.tuples(
        st.sampled_from([*NAMES, *INITS]),
        st.sampled_from(["exit0", "exit1", "pause", "break", "created", "drift", "sandbox", "volume"]),
    ),
    max_size=4,
)


def damage(world: FakeRuntime, harm: list[tuple[str, str]], clock: Clock) -> None:
    """Hurt the containers of MINE as `harm` says."""
    for name, what in harm:
        pod = observe(world, MINE)
        if what == "sandbox" and pod is not None and pod.sandbox is not None:
            world.break_sandbox(pod.sandbox.id, "gone")
        if what == "volume" and pod is not None and pod.sandbox is not None and pod.sandbox.volume_hashes:
            carry_out(world, (Step(1, UpdateVolume(pod.sandbox.id, CONTENTS["old"], "conf", "scribbled"), Why.ABSENT),))
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


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits; an event loop for each would take most of the time."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        result: T = e.value
        return result
    raise AssertionError("it waits")


def observe(world: FakeRuntime, ref: Ref) -> SeenPod | None:
    return at_once(world.observe(ref)).pods.get(ref)


def carry_out(world: FakeRuntime, steps: tuple[Step, ...]) -> dict[str, ReconcilerError]:
    """As the executor does, one after another; returns what failed, by what it is counted against."""
    failed: set[int] = set()
    failures = {}

    for step in steps:
        if failed.intersection(step.after):
            failed.add(step.number)
            continue
        try:
            at_once(world.execute(step))
        except ReconcilerError as e:
            failed.add(step.number)
            failures[subject_of(step, {}) or ""] = e
    return failures


def plan_now(
    world: FakeRuntime, want: Want | None, clock: Clock, failures: Mapping[str, Failure] = MappingProxyType({})
) -> Plan:
    seen = observe(world, MINE)
    plan = plan_pod(want, seen, now=clock.at, images=world.images, failures=failures)
    check(plan, want, seen)
    return plan


def converge(world: FakeRuntime, want: Want | None, clock: Clock) -> dict[str, Failure]:
    """Plan and carry out until there is nothing to do, or only what failed thrice. Init containers do their work."""
    failures: dict[str, Failure] = {}
    for _ in range(40):
        plan = plan_now(world, want, clock, failures)
        if not plan.steps and (plan.wake_at is None or any(f.count > 2 for f in failures.values())):
            if not (done := work_of_inits(world, clock)):
                return failures
            carry_out(world, done)
            continue
        if not plan.steps and plan.wake_at is not None:
            assert plan.wake_at > clock.at, "woken at once, for nothing"
            clock.at = plan.wake_at
        for subject, error in carry_out(world, plan.steps).items():
            before = failures[subject].count if subject in failures else 0
            failures[subject] = Failure(error.reason, str(error), before + 1, clock.at)
    raise AssertionError(f"does not converge; last plan:\n{plan}")


def work_of_inits(world: FakeRuntime, clock: Clock) -> tuple[Step, ...]:
    """Init containers that run end well; returns steps only to say that there were some."""
    pod = observe(world, MINE)
    running = [c for c in pod.containers if c.name in INITS and c.state is State.RUNNING] if pod else []
    for c in running:
        world.change(c.id, state=State.EXITED, exit_code=0, finished_at=clock.at)
    return tuple(Step(1, StopContainer(c.id, 0), Why.ABSENT) for c in running)


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
    world.registry = {**world.images, "absent": "sha256:3"}
    return world, clock


def as_wanted(seen: SeenPod | None, want: Want | None) -> bool:
    if want is None or want.deleting:
        return seen is None
    if seen is None or seen.sandbox is None:
        return False
    lasts = [(newest(seen.containers, c.config.name), c) for c in want.containers]
    failed = [newest(seen.containers, c.config.name) for c in want.init_containers]
    if want.restart_policy == "Never" and any(last is not None and last.exit_code for last in failed):
        return True
    if want.restart_policy != "Always" and all(_over(last, want.restart_policy) for last, _ in lasts):
        return {c.name for c in seen.containers} <= {c.config.name for c in (*want.containers, *want.init_containers)}
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
        and {c.name for c in seen.containers} == {c.config.name for c in (*want.containers, *want.init_containers)}
        and dict(seen.sandbox.volume_hashes) == dict(want.volume_hashes)
        and as_declared(want, seen)
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
    damage(world, [h for h in harm if h[1] not in ("sandbox", "volume") and h[0] in NAMES], clock)
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


@given(first=wants, harm=damages, then=unmakeable)
@settings(max_examples=300, deadline=None)
def test_what_cannot_be_made_is_not_tried_in_vain_and_what_runs_goes_on(
    first: Want | None, harm: list[tuple[str, str]], then: Want | None
) -> None:
    world, clock = new_world()
    converge(world, first, clock)
    before = observe(world, MINE)
    failures = converge(world, then, clock)  # ends: nothing is done again and again
    assert failures.keys() <= {"nowhere"}
    after = observe(world, MINE)
    if then is None or then.deleting:
        assert after is None
        return
    stuck = {c.config.name for c in then.containers if c.config.image in ("nowhere", "blocked")}
    stuck |= {c.config.name for c in then.containers if c.pull_policy == "Never" and c.config.image not in world.images}
    running = {c.id for c in before.containers if c.name in stuck and c.state is State.RUNNING} if before else set()
    assert after is None or running <= {c.id for c in after.containers if c.state is State.RUNNING}
    damage(world, harm, clock)
    converge(world, then, clock)


@given(wanted=wants, harm=damages, back=st.floats(1, 1e6))
@settings(max_examples=200, deadline=None)
def test_a_clock_that_is_set_back_keeps_nothing_waiting_for_longer_than_a_back_off(
    wanted: Want | None, harm: list[tuple[str, str]], back: float
) -> None:
    world, clock = new_world()
    converge(world, wanted, clock)
    damage(world, harm, clock)
    clock.at -= back
    plan = plan_now(world, wanted, clock)
    assert plan.wake_at is None or plan.wake_at <= clock.at + 300
    converge(world, wanted, clock)
    assert as_wanted(observe(world, MINE), wanted)


@given(first=wants, then=wants)
@settings(max_examples=200, deadline=None)
def test_an_init_container_runs_before_the_others_and_only_one_at_a_time(first: Want | None, then: Want | None) -> None:
    world, clock = new_world()
    converge(world, first, clock)
    world.done.clear()
    converge(world, then, clock)
    started: list[str] = []
    names = {s.action.id: s.action.config.name for s in world.done if isinstance(s.action, CreateContainer)}
    for step in world.done:
        if isinstance(step.action, CreateSandbox):
            started.clear()
        if isinstance(step.action, StartContainer) and step.action.id in names:
            started.append(names[step.action.id])
    inits = [name for name in started if name in INITS]
    assert inits == sorted(set(inits)), "in order, each once"
    assert started[: len(inits)] == inits
