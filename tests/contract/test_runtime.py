"""What every runtime promises (ports.Runtime): one suite, on the world in memory and on the real kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from reconciler.errors import ReconcilerError
from reconciler.model.observed import Observed, SeenContainer, SeenPod, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, EmptyDir, File, Files, Mount, Resources, SandboxConfig
from reconciler.plan.hashing import volume_hash
from reconciler.plan.steps import (
    Action,
    CreateContainer,
    CreateSandbox,
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
from reconciler.ports import Runtime
from reconciler.runtimes.fake import FakeRuntime
from tests.contract.test_native_engine import IMAGE, World

WEB, OTHER = Ref("Pod", "default", "web"), Ref("Pod", "shop", "web")
BEFORE, AFTER = Files("conf", (File("a", b"before"),)), Files("conf", (File("a", b"after"),))


class Subject(Protocol):
    """A runtime, and what can be done to its containers behind its back."""

    @property
    def runtime(self) -> Runtime: ...

    async def die(self, container: SeenContainer) -> None: ...
    async def freeze(self, container: SeenContainer) -> None: ...
    async def change_limits(self, container: SeenContainer) -> None: ...


class Clock:
    def now(self) -> float:
        return asyncio.get_running_loop().time()


class Fake:
    def __init__(self) -> None:
        self.runtime = FakeRuntime(Clock())
        self.runtime.images = {IMAGE: "sha256:1"}

    async def die(self, container: SeenContainer) -> None:
        self.runtime.exit(container.id, 137)

    async def freeze(self, container: SeenContainer) -> None:
        self.runtime.change(container.id, state=State.PAUSED)

    async def change_limits(self, container: SeenContainer) -> None:
        self.runtime.change(container.id, limits_drifted=True)


class Native:
    def __init__(self, world: World) -> None:
        self.world = world
        self.runtime = world.engine

    def _cgroup(self, hierarchy: str, container: SeenContainer, file: str) -> Path:
        return self.world.path("", hierarchy, "").parent / container.id / file

    async def die(self, container: SeenContainer) -> None:
        assert container.pid
        os.kill(container.pid, signal.SIGKILL)

    async def freeze(self, container: SeenContainer) -> None:
        state = self._cgroup("freezer", container, "freezer.state")
        if state.exists():
            state.write_text("FROZEN")
        else:
            self._cgroup("", container, "cgroup.freeze").write_text("1")

    async def change_limits(self, container: SeenContainer) -> None:
        self._cgroup("pids", container, "pids.max").write_text("7")


@pytest.fixture(params=["fake", "native"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield Fake()
        return
    world = World(tmp_path)
    await world.open()
    try:
        await world.load()
        yield Native(world)
    finally:
        await world.engine.remove_all()
        await world.engine.aclose()
        assert world.left() == []


@dataclass
class Pod:
    """Short ways to make one pod and look at it."""

    runtime: Runtime
    ref: Ref = WEB

    @property
    def sandbox_id(self) -> str:
        return f"s-{self.ref.namespace}"

    def config(self) -> SandboxConfig:
        return SandboxConfig(self.ref, hostname="web", volumes=(EmptyDir("scratch"), BEFORE))

    async def do(self, action: Action) -> str:
        return await self.runtime.execute(Step(1, action, Why.ABSENT))

    async def sandbox(self) -> None:
        await self.do(CreateSandbox(self.sandbox_id, self.config(), "hash of it", 2, 7.0))

    async def container(self, name: str = "main", attempt: int = 0) -> str:
        identity = f"c-{self.ref.namespace}-{name}-{attempt}"
        config = ContainerConfig(
            name,
            IMAGE,
            command=("sleep", "1000"),
            mounts=(Mount("conf", "/conf"), Mount("scratch", "/scratch")),
            resources=Resources(pids_limit=50),
        )
        await self.do(
            CreateContainer(identity, self.ref, self.sandbox_id, config, f"hash {name}", attempt, attempt + 3)
        )
        return identity

    async def run(self, name: str = "main") -> SeenContainer:
        await self.sandbox()
        identity = await self.container(name)
        await self.do(StartContainer(identity))
        return await self.seen(identity)

    async def all(self) -> SeenPod | None:
        return (await self.runtime.observe(self.ref)).pods.get(self.ref)

    async def seen(self, identity: str) -> SeenContainer:
        pod = await self.all()
        assert pod is not None
        (container,) = (c for c in pod.containers if c.id == identity)
        return container

    async def until(self, identity: str, state: State) -> SeenContainer:
        async with asyncio.timeout(20):
            while (container := await self.seen(identity)).state is not state:
                await asyncio.sleep(0.01)
        return container


@pytest.fixture
def web(subject: Subject) -> Pod:
    return Pod(subject.runtime)


async def test_nothing_is_there_at_first(subject: Subject) -> None:
    world = await subject.runtime.observe()
    assert dict(world.pods) == {}
    assert IMAGE in world.images


async def test_a_sandbox_is_seen_as_it_was_ordered(web: Pod) -> None:
    await web.sandbox()
    pod = await web.all()
    assert pod is not None and pod.ref == WEB and pod.containers == ()
    sandbox = pod.sandbox
    assert sandbox is not None
    assert (sandbox.id, sandbox.spec_hash, sandbox.attempt) == (web.sandbox_id, "hash of it", 2)
    assert (sandbox.grace_seconds, sandbox.fault) == (7.0, "")
    assert len(sandbox.addresses) == 1
    assert dict(sandbox.volume_hashes) == {"conf": volume_hash(BEFORE)}, "of Files volumes only"


async def test_the_life_of_a_container(web: Pod) -> None:
    await web.sandbox()
    identity = await web.container(attempt=1)
    made = await web.seen(identity)
    assert (made.name, made.sandbox_id, made.spec_hash, made.attempt, made.backoff_level, made.image) == (
        "main",
        web.sandbox_id,
        "hash main",
        1,
        4,
        IMAGE,
    )
    assert (made.state, made.started_at, made.pid is None or made.pid > 0) == (State.CREATED, None, True)
    assert made.image_id
    await web.do(StartContainer(identity))
    runs = await web.seen(identity)
    assert (runs.state, runs.exit_code, runs.finished_at) == (State.RUNNING, None, None)
    assert runs.started_at is not None and runs.pid
    await web.do(StopContainer(identity, 0.2))
    ended = await web.until(identity, State.EXITED)
    assert ended.exit_code is not None and ended.exit_code > 128
    assert ended.finished_at is not None and ended.finished_at >= runs.started_at - 1
    assert (ended.started_at, ended.attempt, ended.backoff_level) == (runs.started_at, 1, 4)
    await web.do(RemoveContainer(identity))
    pod = await web.all()
    assert pod is not None and pod.containers == () and pod.sandbox is not None
    await web.do(RemoveSandbox(web.sandbox_id))
    assert await web.all() is None
    assert dict((await web.runtime.observe()).pods) == {}


async def test_a_container_that_ends_by_itself_is_told_and_seen(subject: Subject, web: Pod) -> None:
    events = subject.runtime.events()
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    container = await web.run()
    await subject.die(container)
    async with asyncio.timeout(10):
        assert await first == WEB
    ended = await web.until(container.id, State.EXITED)
    assert ended.exit_code == 137
    with contextlib.suppress(AttributeError):
        await events.aclose()  # type: ignore[attr-defined]


async def test_a_dead_container_stays_beside_its_next_attempt(subject: Subject, web: Pod) -> None:
    first = await web.run()
    await subject.die(first)
    await web.until(first.id, State.EXITED)
    second = await web.container(attempt=1)
    await web.do(StartContainer(second))
    assert (await web.seen(first.id)).state is State.EXITED
    assert (await web.seen(second)).state is State.RUNNING
    await web.do(RemoveContainer(first.id))
    assert (await web.seen(second)).state is State.RUNNING


async def test_every_step_may_be_done_again(subject: Subject, web: Pod) -> None:
    await web.sandbox()
    before = await web.all()
    await web.sandbox()
    assert await web.all() == before, "the sandbox that is there stays, and keeps its address"
    identity = await web.container()
    await web.container()
    await web.do(StartContainer(identity))
    runs = await web.seen(identity)
    await web.do(StartContainer(identity))
    await web.container()
    assert await web.seen(identity) == runs, "what runs is not made or started anew"
    for _ in range(2):
        await web.do(ResumeContainer(identity))
        await web.do(RestoreLimits(identity))
        await web.do(UpdateVolume(web.sandbox_id, AFTER, "conf", volume_hash(AFTER)))
    assert await web.seen(identity) == runs
    for _ in range(2):
        await web.do(StopContainer(identity, 0))
    ended = await web.until(identity, State.EXITED)
    await web.do(StartContainer(identity))
    assert await web.seen(identity) == ended, "what ended is not started again under the same id"
    for action in (RemoveContainer(identity), RemoveSandbox(web.sandbox_id)):
        for _ in range(2):
            await web.do(action)
    assert await web.all() is None


async def test_what_is_not_there_can_be_stopped_and_removed_and_nothing_else(web: Pod) -> None:
    for gone in (StopContainer("none", 1), RemoveContainer("none"), RemoveSandbox("none")):
        await web.do(gone)
    config = ContainerConfig("main", IMAGE)
    for missing in (
        StartContainer("none"),
        ResumeContainer("none"),
        RestoreLimits("none"),
        UpdateVolume("none", AFTER, "conf", "h"),
        CreateContainer("c", WEB, "none", config, "h", 0),
        PullImage("registry.invalid/none:1"),
    ):
        with pytest.raises(ReconcilerError) as caught:
            await web.do(missing)
        assert caught.value.reason[0].isupper() and "\n" not in str(caught.value)
    assert await web.all() is None


async def test_a_container_of_an_image_that_is_not_there(web: Pod) -> None:
    await web.sandbox()
    config = ContainerConfig("main", "docker.io/library/none:1")
    with pytest.raises(ReconcilerError):
        await web.do(CreateContainer("c", WEB, web.sandbox_id, config, "h", 0))
    pod = await web.all()
    assert pod is not None and pod.containers == ()


async def test_removing_kills_what_still_runs(web: Pod) -> None:
    container = await web.run()
    await web.do(RemoveContainer(container.id))
    await web.do(RemoveSandbox(web.sandbox_id))
    assert await web.all() is None


async def test_a_paused_container_is_seen_thawed_and_stopped(subject: Subject, web: Pod) -> None:
    container = await web.run()
    await subject.freeze(container)
    await web.until(container.id, State.PAUSED)
    await web.do(ResumeContainer(container.id))
    await web.until(container.id, State.RUNNING)
    await subject.freeze(container)
    await web.until(container.id, State.PAUSED)
    await web.do(StopContainer(container.id, 0.2))
    await web.until(container.id, State.EXITED)


async def test_changed_limits_are_seen_and_restored(subject: Subject, web: Pod) -> None:
    container = await web.run()
    assert not container.limits_drifted
    await subject.change_limits(container)
    assert (await web.seen(container.id)).limits_drifted
    await web.do(RestoreLimits(container.id))
    restored = await web.seen(container.id)
    assert (restored.limits_drifted, restored.state) == (False, State.RUNNING)


async def test_new_content_of_a_volume(web: Pod) -> None:
    container = await web.run()
    await web.do(UpdateVolume(web.sandbox_id, AFTER, "conf", volume_hash(AFTER)))
    pod = await web.all()
    assert pod is not None and pod.sandbox is not None
    assert dict(pod.sandbox.volume_hashes) == {"conf": volume_hash(AFTER)}
    assert await web.seen(container.id) == container


async def test_one_pod_or_all(subject: Subject, web: Pod) -> None:
    other = Pod(subject.runtime, OTHER)
    await web.run("main")
    await web.container("side")
    await other.run("main")

    def shown(world: Observed) -> dict[Ref, list[str]]:
        return {ref: sorted(c.name for c in pod.containers) for ref, pod in world.pods.items()}

    assert shown(await subject.runtime.observe()) == {WEB: ["main", "side"], OTHER: ["main"]}
    assert shown(await subject.runtime.observe(OTHER)) == {OTHER: ["main"]}
    assert shown(await subject.runtime.observe(Ref("Pod", "default", "none"))) == {}
    assert IMAGE in (await subject.runtime.observe(OTHER)).images
    await web.do(RemoveContainer("c-default-main-0"))
    assert shown(await subject.runtime.observe()) == {WEB: ["side"], OTHER: ["main"]}


async def test_what_was_seen_does_not_change_afterwards(web: Pod) -> None:
    container = await web.run()
    before = await web.runtime.observe()
    pods = dict(before.pods)
    await web.do(RemoveContainer(container.id))
    assert dict(before.pods) == pods
    assert before.pods[WEB].containers[0] == container


async def test_there_is_nothing_to_mend_when_all_is_well(web: Pod) -> None:
    await web.run()
    assert list(await web.runtime.mend()) == []


async def test_letting_go_ends_nothing(subject: Subject, web: Pod) -> None:
    container = await web.run()
    if isinstance(subject, Native):
        await subject.world.engine.aclose()
        web.runtime = await subject.world.open()
    else:
        await subject.runtime.aclose()
    assert await web.seen(container.id) == container
