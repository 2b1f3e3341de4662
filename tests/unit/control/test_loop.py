"""The loop on the fake runtime and on virtual time: manifests in, a world that follows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.control.database import Database
from reconciler.control.loop import Loop
from reconciler.control.queue import WorkQueue
from reconciler.control.reconcile import Machine, Reconciler
from reconciler.control.store import Store
from reconciler.errors import TerminalError, TransientError
from reconciler.model.observed import Observed, SeenContainer, State
from reconciler.model.ref import Ref
from reconciler.plan.environment import Node
from reconciler.plan.steps import CreateContainer, ResumeContainer, StartContainer, Step
from reconciler.ports import Tree, TreeFile
from reconciler.runtimes.fake import FakeRuntime
from reconciler.telemetry import Telemetry
from tests.virtual import VirtualClock, run

IMAGE = "docker.io/library/web:1"


def pod(name: str, image: str = "web:1", **spec: Any) -> str:
    more = "".join(f"  {key}: {value}\n" for key, value in spec.items())
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n"
        f"  containers: [{{name: main, image: '{image}'}}]\n{more}"
    )


def deployment(name: str, replicas: int, image: str = "web:1") -> str:
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n"
        f"  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n"
        f"    spec: {{containers: [{{name: main, image: '{image}'}}]}}\n"
    )


@dataclass
class Folder:
    """A source in memory."""

    name: str = "folder"
    files: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    hints: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    async def load(self) -> Tree:
        if self.lost:
            raise TransientError(self.lost, reason="SourceUnreadable")
        files = tuple(TreeFile(path, text.encode()) for path, text in sorted(self.files.items()))
        return Tree(str(hash(files)), files)

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await self.hints.get()
            yield


@dataclass
class World:
    """One daemon's worth of loop, on a runtime that may be older than it."""

    store: Store
    runtime: FakeRuntime
    loop: Loop
    folder: Folder
    telemetry: Telemetry

    async def settle(self) -> None:
        """Let everything that is due happen, without moving on to later timers."""
        for _ in range(200):
            await asyncio.sleep(0.001)

    async def put(self, **files: str | None) -> None:
        """Write or (None) delete files, and let the loop follow. `web_yaml` is web.yaml."""
        for name, text in files.items():
            path = name.replace("_", ".")
            if text is None:
                del self.folder.files[path]
            else:
                self.folder.files[path] = text
        self.folder.hints.put_nowait(None)
        await self.settle()

    def pods(self) -> list[str]:
        return [record.ref.name for record in self.store.list("Pod")]

    def main(self, name: str = "web") -> SeenContainer:
        ref = Ref("Pod", "default", name)
        return max(self.runtime.pods()[ref].containers, key=lambda c: c.attempt)

    def state(self, name: str = "web") -> dict[str, Any]:
        record = self.store.get(Ref("Pod", "default", name))
        assert record is not None
        return dict(record.status["containerStatuses"][0]["state"])


@contextlib.asynccontextmanager
async def world(
    tmp_path: Path, runtime: FakeRuntime | None = None, folder: Folder | None = None, *, hold: bool = False
) -> AsyncIterator[World]:
    clock = VirtualClock()
    telemetry = Telemetry()
    if runtime is None:
        runtime = FakeRuntime(clock)
        runtime.images[IMAGE] = "sha256:1"
    folder = folder or Folder()
    store = Store(Database(tmp_path / "state.db"), clock, "test")
    queue = WorkQueue(clock, telemetry)
    reconciler = Reconciler(store, queue, runtime, clock, telemetry, Machine(Node("here", 2000, 1 << 30), "192.0.2.1"))
    reconciler.hold = hold
    loop = Loop(folder, store, queue, reconciler, runtime, clock, telemetry, resync_seconds=10)
    task = asyncio.create_task(loop.run())
    made = World(store, runtime, loop, folder, telemetry)
    try:
        await made.settle()
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        store.close()


def scenario(test: Callable[[World], Any]) -> Callable[[Path], None]:
    """A test that gets a world of its own, on virtual time."""

    def runner(tmp_path: Path) -> None:
        async def main() -> None:
            async with world(tmp_path) as made:
                await test(made)

        run(main())

    runner.__name__, runner.__doc__ = test.__name__, test.__doc__
    return runner


@scenario
async def test_a_pod_appears_changes_and_goes(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    assert w.main().state is State.RUNNING
    assert w.loop.in_sync
    first = w.main().id
    await w.put(web_yaml=pod("web", hostname="other"))
    assert w.main().state is State.RUNNING
    assert w.main().id != first
    await w.put(web_yaml=None, keep_yaml="# nothing\n")
    assert not w.runtime.containers()
    assert w.pods() == []


@scenario
async def test_the_same_file_again_does_nothing(w: World) -> None:
    await w.put(web_yaml=deployment("web", 3))
    done = len(w.runtime.done)
    await w.put(web_yaml=deployment("web", 3) + "# a comment\n")
    await asyncio.sleep(100)
    assert len(w.runtime.done) == done


@scenario
async def test_a_deployment_scales_and_replaces_its_pods(w: World) -> None:
    await w.put(web_yaml=deployment("web", 2))
    two = set(w.pods())
    assert len(two) == 2
    await w.put(web_yaml=deployment("web", 3))
    assert len(w.pods()) == 3
    assert two < set(w.pods())
    await w.put(web_yaml=deployment("web", 1))
    assert len(w.pods()) == 1
    w.runtime.images["docker.io/library/web:2"] = "sha256:2"
    old = set(w.pods())
    await w.put(web_yaml=deployment("web", 1, "web:2"))
    assert len(w.pods()) == 1
    assert not old & set(w.pods())
    record = w.store.get(Ref("Deployment", "default", "web"))
    assert record is not None
    assert record.status["readyReplicas"] == record.status["replicas"] == 1
    assert record.generation == 4


@scenario
async def test_a_crash_is_restarted_at_once_and_then_with_back_off(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    w.runtime.exit(w.main().id, 1)
    await w.settle()
    assert w.main().state is State.RUNNING
    assert w.main().attempt == 1
    w.runtime.exit(w.main().id, 1)
    await w.settle()
    assert w.state()["waiting"]["reason"] == "CrashLoopBackOff"
    assert not w.loop.in_sync
    assert "BackOff" in {event.reason for event in w.store.events()}
    await asyncio.sleep(9.5)
    assert w.main().attempt == 1
    await asyncio.sleep(1)
    assert w.main().attempt == 2
    assert w.main().state is State.RUNNING


@scenario
async def test_what_somebody_did_behind_our_back_is_put_right(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    w.runtime.change(w.main().id, state=State.PAUSED)
    await asyncio.sleep(11)
    assert w.main().state is State.RUNNING
    w.runtime.change(w.main().id, state=State.BROKEN, fault="removed by hand")
    await asyncio.sleep(11)
    assert w.main().state is State.RUNNING
    assert w.main().attempt == 1
    w.runtime.break_sandbox(w.main().sandbox_id, "netns gone")
    await asyncio.sleep(11)
    assert w.main().state is State.RUNNING
    assert w.main().attempt == 2
    corrected = w.telemetry.registry.get_sample_value(
        "reconciler_drift_corrected_total", {"kind": "Pod", "reason": "Paused"}
    )
    assert corrected == 1


@scenario
async def test_a_missing_image_backs_off_and_the_rest_converges(w: World) -> None:
    await w.put(bad_yaml=pod("bad", "nosuch:1"), web_yaml=pod("web"))
    assert w.main().state is State.RUNNING
    assert w.state("bad")["waiting"]["reason"] == "ErrImagePull"
    await asyncio.sleep(3)
    assert w.state("bad")["waiting"]["reason"] == "ImagePullBackOff"
    w.runtime.registry["docker.io/library/nosuch:1"] = "sha256:9"
    await asyncio.sleep(8)
    assert w.main("bad").state is State.RUNNING
    assert w.loop.in_sync


@scenario
async def test_a_broken_file_keeps_its_last_good_objects(w: World) -> None:
    await w.put(web_yaml=pod("web"), other_yaml=pod("other"))
    await w.put(web_yaml="kind: Pod\n  oops: [", new_yaml=pod("new"))
    assert w.pods() == ["new", "other", "web"]
    assert [problem.file for problem in w.store.problems if problem.severity == "error"] == ["web.yaml"]
    assert not w.loop.in_sync
    assert w.main().attempt == 0


@scenario
async def test_an_emptied_folder_is_held_back_until_it_is_meant(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    await w.put(web_yaml=None)
    await asyncio.sleep(60)
    assert w.main().state is State.RUNNING
    assert w.store.prune_blocked
    await w.put(empty_yaml="# yes, nothing\n")
    assert not w.runtime.containers()
    assert not w.store.prune_blocked


@scenario
async def test_a_lost_folder_changes_nothing(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    w.folder.lost = "folder: not mounted"
    w.folder.hints.put_nowait(None)
    await asyncio.sleep(60)
    assert w.main().state is State.RUNNING
    assert w.main().attempt == 0
    assert not w.loop.in_sync
    w.folder.lost = ""
    await asyncio.sleep(11)
    assert w.loop.in_sync


@scenario
async def test_new_config_restarts_the_containers_that_use_it(w: World) -> None:
    text = pod("web").replace("image: 'web:1'", "image: 'web:1', envFrom: [{configMapRef: {name: conf}}]")
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {A: '%s'}\n"
    await w.put(web_yaml=text)
    assert w.state()["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'configmap "conf" not found',
    }
    await w.put(conf_yaml=config % "1", other_yaml=pod("other"))
    first = w.main()
    assert first.state is State.RUNNING
    await w.put(conf_yaml=config % "2")
    assert w.main().id != first.id
    assert w.main().state is State.RUNNING
    assert w.main("other").attempt == 0


@scenario
async def test_a_container_that_cannot_be_made_backs_off(w: World) -> None:
    def fail(step: Step) -> TerminalError | None:
        if isinstance(step.action, CreateContainer):
            tries.append(asyncio.get_running_loop().time())
            return TerminalError('exec: "nosuch": not found', reason="CreateContainerError")
        return None

    tries: list[float] = []
    w.runtime.fail = fail
    await w.put(web_yaml=pod("web"))
    await asyncio.sleep(300)
    assert w.state()["waiting"] == {"reason": "CreateContainerError", "message": 'exec: "nosuch": not found'}
    gaps = [round(b - a) for a, b in itertools.pairwise(tries)]
    assert gaps[:7] == [1, 2, 4, 8, 16, 32, 60]


@pytest.mark.parametrize("lose_state", [False, True])
def test_a_new_daemon_finds_everything_as_it_was(tmp_path: Path, lose_state: bool) -> None:
    async def main() -> None:
        folder = Folder(files={"web.yaml": deployment("web", 3), "one.yaml": pod("one")})
        async with world(tmp_path, folder=folder) as w:
            runtime, before, version = w.runtime, w.runtime.containers(), w.store.resource_version
            assert len(before) == 4
            done = len(runtime.done)
        if lose_state:
            for path in tmp_path.glob("state.db*"):
                path.unlink()
        async with world(tmp_path, runtime, Folder(files=folder.files)) as w:
            await asyncio.sleep(60)
            assert w.runtime.containers() == before
            assert len(runtime.done) == done
            assert w.loop.in_sync
            assert lose_state or w.store.resource_version > version

    run(main())


def test_files_deleted_while_no_daemon_ran_are_pruned_but_a_lost_folder_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        folder = Folder(files={"web.yaml": pod("web"), "one.yaml": pod("one")})
        async with world(tmp_path, folder=folder) as w:
            runtime = w.runtime
        async with world(tmp_path, runtime, Folder(lost="not mounted")) as w:
            await asyncio.sleep(60)
            assert len(runtime.containers()) == 2
            assert w.pods() == ["one", "web"]
        async with world(tmp_path, runtime, Folder(files={"one.yaml": pod("one")})) as w:
            await asyncio.sleep(1)
            assert [c.name for c in runtime.containers().values()] == ["main"]
            assert w.pods() == ["one"]

    run(main())


def test_orphans_stay_while_a_broken_file_may_declare_them(tmp_path: Path) -> None:
    async def main() -> None:
        folder = Folder(files={"web.yaml": pod("web"), "one.yaml": pod("one")})
        async with world(tmp_path, folder=folder) as w:
            runtime = w.runtime
        for path in tmp_path.glob("state.db*"):
            path.unlink()
        async with world(tmp_path, runtime, Folder(files={"web.yaml": "oops: [", "one.yaml": pod("one")})) as w:
            await asyncio.sleep(60)
            assert len(runtime.containers()) == 2
            assert "web.yaml" in w.store.prune_blocked
            await w.put(web_yaml="# nothing\n")
            assert len(runtime.containers()) == 1

    run(main())


@scenario
async def test_down_takes_everything_away_and_keeps_it_away(w: World) -> None:
    await w.put(web_yaml=deployment("web", 2))
    await w.loop.take_down(None)
    await w.settle()
    assert not w.runtime.containers()
    await asyncio.sleep(60)
    assert not w.runtime.containers()
    assert not await w.loop.pods_going()


@scenario
async def test_events_tell_what_happened_and_count_repeats(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    w.runtime.exit(w.main().id, 1)
    await w.settle()
    counts = {event.reason: event.count for event in w.store.events() if event.about.name == "web"}
    assert counts["Started"] == 2
    assert counts["Created"] == 2


def reasons(w: World, name: str) -> dict[str, int]:
    return {event.reason: event.count for event in w.store.events() if event.about.name == name}


@scenario
async def test_a_step_that_never_helps_is_tried_with_back_off(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    execute, tries = w.runtime.execute, []

    async def in_vain(step: Step) -> str:
        if isinstance(step.action, ResumeContainer):
            tries.append(asyncio.get_running_loop().time())
            return ""
        return await execute(step)

    w.runtime.execute = in_vain  # type: ignore[method-assign]
    w.runtime.change(w.main().id, state=State.PAUSED)
    await asyncio.sleep(600)
    assert 10 < len(tries) < 80
    assert not w.loop.in_sync


@scenario
async def test_a_pull_is_not_repeated_for_a_pod_that_cannot_be_replaced(w: World) -> None:
    text = pod("web", hostname="one").replace("image: 'web:1'", "image: 'web:1', imagePullPolicy: Always")
    w.runtime.registry[IMAGE] = "sha256:1"
    await w.put(web_yaml=text)
    done = len(w.runtime.done)
    second = "image: 'web:1', imagePullPolicy: Always}, {name: side, image: 'nosuch:1'}"
    await w.put(
        web_yaml=text.replace("hostname: one", "hostname: two").replace(
            "image: 'web:1', imagePullPolicy: Always}", second
        )
    )
    await asyncio.sleep(600)
    assert w.main().state is State.RUNNING
    assert len(w.runtime.done) - done < 20


@scenario
async def test_it_is_not_in_sync_while_an_older_one_goes_on(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    first = w.main().id
    await w.put(web_yaml=pod("web", "nosuch:1"))
    assert (w.main().id, w.main().state) == (first, State.RUNNING)
    assert not w.loop.in_sync
    assert not w.loop.settled
    record = w.store.get(Ref("Pod", "default", "web"))
    assert record is not None
    assert (record.generation, record.status["observedGeneration"]) == (2, 1)
    assert record.status["containerStatuses"][0]["image"] == "web:1"
    w.runtime.registry["docker.io/library/nosuch:1"] = "sha256:9"
    await asyncio.sleep(11)
    assert w.main().id != first
    assert w.loop.in_sync


@scenario
async def test_a_start_that_fails_each_time_backs_off_though_it_can_be_made(w: World) -> None:
    tries: list[float] = []

    def fail(step: Step) -> TerminalError | None:
        if isinstance(step.action, StartContainer):
            tries.append(asyncio.get_running_loop().time())
            w.runtime.change(step.action.id, state=State.BROKEN, fault="half made")
            return TerminalError("no", reason="RunContainerError")
        return None

    w.runtime.fail = fail
    await w.put(web_yaml=pod("web"))
    await asyncio.sleep(1200)
    assert len(tries) < 15
    assert w.state()["waiting"]["reason"] == "RunContainerError"


@scenario
async def test_years_of_crashes_can_be_borne(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    w.runtime.change(w.main().id, backoff_level=5000)
    w.runtime.exit(w.main().id, 1)
    await asyncio.sleep(200)
    assert w.state()["waiting"]["reason"] == "CrashLoopBackOff"
    await asyncio.sleep(200)
    assert w.main().state is State.RUNNING


@scenario
async def test_a_file_that_comes_back_while_its_pod_is_stopped(w: World) -> None:
    await w.put(web_yaml=pod("web"), other_yaml=pod("other"))
    w.runtime._seconds_per_step = 5
    await w.put(web_yaml=None)
    await asyncio.sleep(2)
    record = w.store.get(Ref("Pod", "default", "web"))
    assert record is not None and record.deleted_at is not None
    await w.put(web_yaml=pod("web", hostname="new"))
    await asyncio.sleep(60)
    assert w.main().state is State.RUNNING
    assert w.loop.in_sync
    assert w.pods() == ["other", "web"]


@scenario
async def test_a_defect_of_the_runtime_does_not_end_the_loop(w: World) -> None:
    await w.put(web_yaml=pod("web"))
    observe = w.runtime.observe

    async def broken(ref: Ref | None = None) -> Observed:
        raise RuntimeError("a defect")

    w.runtime.observe = broken  # type: ignore[method-assign]
    await w.put(other_yaml=pod("other"))
    await asyncio.sleep(60)
    w.runtime.observe = observe  # type: ignore[method-assign]
    await asyncio.sleep(61)
    assert w.main("other").state is State.RUNNING
    assert w.loop.in_sync


@scenario
async def test_a_pod_that_is_declared_under_the_name_of_a_replica_keeps_it(w: World) -> None:
    await w.put(web_yaml=deployment("web", 2))
    first, second = w.pods()
    kept = w.main(second).id
    await w.put(own_yaml=pod(first, hostname="mine"))
    assert w.pods() == [first, second]
    record = w.store.get(Ref("Pod", "default", first))
    assert record is not None and record.owner is None
    await asyncio.sleep(60)
    record = w.store.get(Ref("Pod", "default", first))
    assert record is not None and record.owner is None
    assert not w.loop.in_sync
    (owner,) = w.store.list("ReplicaSet")
    assert "FailedCreate" in reasons(w, owner.ref.name)
    await w.put(own_yaml=None)
    await asyncio.sleep(5)
    record = w.store.get(Ref("Pod", "default", first))
    assert record is not None and record.owner == owner.ref
    assert w.main(second).id == kept
    assert w.loop.in_sync


@scenario
async def test_a_deployment_that_is_renamed(w: World) -> None:
    await w.put(web_yaml=deployment("web", 2))
    await w.put(web_yaml=deployment("other", 2))
    assert all(name.startswith("other-") for name in w.pods())
    assert [r.ref.name for r in w.store.list("Deployment")] == ["other"]
    assert len(w.store.list("ReplicaSet")) == 1
    assert len(w.runtime.containers()) == 2
    assert not w.store.children(Ref("Deployment", "default", "web"))


@scenario
async def test_a_config_that_is_taken_away_stops_nothing(w: World) -> None:
    text = pod("web").replace("image: 'web:1'", "image: 'web:1', envFrom: [{configMapRef: {name: conf}}]")
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {A: '1'}\n"
    await w.put(web_yaml=text, conf_yaml=config)
    first = w.main().id
    await w.put(conf_yaml=None)
    await asyncio.sleep(30)
    assert (w.main().id, w.main().state) == (first, State.RUNNING)
    assert not w.loop.in_sync
    await w.put(conf_yaml=config)
    assert w.main().id == first
    assert w.loop.in_sync


@scenario
async def test_drift_is_counted_only_while_something_is_off(w: World) -> None:
    def drift() -> float | None:
        return w.telemetry.registry.get_sample_value("reconciler_drift_objects", {"kind": "Pod"})

    await w.put(web_yaml=deployment("web", 3))
    await asyncio.sleep(11)
    assert drift() == 0
    w.runtime.change(w.main(w.pods()[0]).id, state=State.PAUSED)
    await w.loop.relist()
    assert drift() == 1
    await asyncio.sleep(11)
    assert drift() == 0


def test_on_hold_only_what_was_ordered_down_goes(tmp_path: Path) -> None:
    async def main() -> None:
        folder = Folder(files={"web.yaml": pod("web"), "one.yaml": pod("one")})
        async with world(tmp_path, folder=folder) as w:
            runtime = w.runtime
            runtime.exit(w.main("one").id, 0)
            dead = w.main("one").id
            await w.settle()
        runtime.change(w.main("one").id, state=State.PAUSED)
        async with world(tmp_path, runtime, folder, hold=True) as w:
            await asyncio.sleep(30)
            assert w.main("one").state is State.PAUSED
            await w.loop.take_down({Ref("Pod", "default", "web")})
            await asyncio.sleep(30)
            assert not await w.loop.pods_going()
            assert list(runtime.pods()) == [Ref("Pod", "default", "one")]
            assert w.main("one").state is State.PAUSED
            assert w.main("one").id != dead

    run(main())


@scenario
async def test_an_end_of_which_nobody_told_is_seen_by_the_relist(w: World) -> None:
    await w.put(web_yaml=pod("web", restartPolicy="Never"))
    await asyncio.sleep(21)
    w.runtime.change(w.main().id, state=State.EXITED, exit_code=0, finished_at=0.0)
    await asyncio.sleep(11)
    record = w.store.get(Ref("Pod", "default", "web"))
    assert record is not None and record.status["phase"] == "Succeeded"


@scenario
async def test_a_start_that_fails_and_leaves_nothing_backs_off_too(w: World) -> None:
    tries: list[float] = []

    def fail(step: Step) -> TerminalError | None:
        if isinstance(step.action, StartContainer):
            tries.append(asyncio.get_running_loop().time())
            w.runtime._remove(step.action.id, lambda there: replace(there, containers=()))
            return TerminalError("no", reason="RunContainerError")
        return None

    w.runtime.fail = fail
    await w.put(web_yaml=pod("web"))
    await asyncio.sleep(300)
    gaps = [round(b - a) for a, b in itertools.pairwise(tries)]
    assert gaps[:7] == [1, 2, 4, 8, 16, 32, 60]


def test_what_was_taken_away_while_no_daemon_ran_is_new_when_it_comes_back(tmp_path: Path) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n"
    ref = Ref("ConfigMap", "default", "conf")

    async def main() -> None:
        async with world(tmp_path, folder=Folder(files={"conf.yaml": config, "x.yaml": "# x"})) as w:
            first = w.store.get(ref)
            runtime = w.runtime
        await asyncio.sleep(100)
        async with world(tmp_path, runtime, Folder(files={"x.yaml": "# x"})) as w:
            await w.put(conf_yaml=config)
            again = w.store.get(ref)
            assert first is not None and again is not None
            assert again.created_at >= first.created_at + 100

    run(main())
