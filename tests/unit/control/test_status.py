"""What is said of pods and workloads. Rows in the order of semantics: phases, reasons, conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from reconciler.control.records import Record
from reconciler.control.status import PodView, pod_status, refresh_at, settled, workload_status
from reconciler.manifest.reader import Reader
from reconciler.model.kinds import Object, Pod
from reconciler.model.observed import SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import ContainerConfig, SandboxConfig
from reconciler.plan.pods import Blocked, Want, WantContainer
from reconciler.plan.restart import Failure

REF = Ref("Pod", "default", "web")
IMAGE = "docker.io/library/web:1"
NOW = 1_790_000_000.0
TIME = "2026-09-21T14:13:20Z"


def declared(text: str) -> Object:
    reading = Reader().read({"x.yaml": text.encode()})
    assert reading.objects, reading.problems
    (entry,) = reading.objects.values()
    return entry.object


def pod(*resources: str) -> Pod:
    containers = "".join(
        f"  - {{name: c{n}, image: web, resources: {r}}}\n" for n, r in enumerate(resources or ("{}",))
    )
    found = declared(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n{containers}")
    assert isinstance(found, Pod)
    return found


POD = pod()
SANDBOX = SeenSandbox("s0", "hs", created_at=NOW - 100, addresses=("10.0.0.2",))
UP = SeenContainer(
    "a0", "a", "s0", "h", State.RUNNING, image=IMAGE, image_id="sha256:1", created_at=NOW - 60, started_at=NOW - 50
)
DONE = replace(UP, state=State.EXITED, exit_code=0, finished_at=NOW - 5)
FAILED = replace(DONE, exit_code=1)
CREATED = replace(UP, state=State.CREATED, started_at=None)
PAUSED = replace(UP, state=State.PAUSED)
AGAIN = replace(CREATED, id="a1", attempt=1)  # made anew, not started yet
BACKING_OFF = replace(FAILED, id="a1", attempt=1, backoff_level=1)
B_UP, B_DONE, B_FAILED = (replace(c, id="b0", name="b") for c in (UP, DONE, FAILED))
INIT_UP, INIT_DONE, INIT_FAILED = (replace(c, id="i0", name="init") for c in (UP, DONE, FAILED))


def wanted(*names: str, init: bool = False, image: str = IMAGE, policy: str = "Always", **more: Any) -> Want:
    containers = tuple(WantContainer(ContainerConfig(name, image), "h") for name in names or ("a",))
    inits = (WantContainer(ContainerConfig("init", image), "h"),) if init else ()
    return Want(REF, SandboxConfig(REF), "hs", {}, containers, inits, restart_policy=policy, **more)


def view(want: Want, *containers: SeenContainer, sandbox: SeenSandbox | None = SANDBOX, **more: Any) -> PodView:
    fields: dict[str, Any] = {
        "pod": POD,
        "want": want,
        "seen": SeenPod(REF, sandbox, containers),
        "failures": {},
        "images": {IMAGE: "sha256:1"},
        "host_address": "192.0.2.1",
        "created_at": NOW - 200,
        "generation": 3,
        "converged": True,
        "now": NOW,
        **more,
    }
    return PodView(**fields)


def blank(want: Want, **more: Any) -> PodView:
    return replace(view(want, **more), seen=None)


PHASES = [
    # 1. an init container failed for good
    pytest.param(view(wanted(init=True, policy="Never"), INIT_FAILED), None, "Failed", id="init failed, Never"),
    pytest.param(view(wanted(init=True, policy="OnFailure"), INIT_FAILED), None, "Pending", id="init failed"),
    # 2. initializing, or something has not started yet
    pytest.param(blank(wanted()), None, "Pending", id="nothing yet"),
    pytest.param(view(wanted()), None, "Pending", id="only a sandbox"),
    pytest.param(view(wanted(init=True), INIT_UP), None, "Pending", id="initializing"),
    pytest.param(view(wanted(init=True), INIT_DONE), None, "Pending", id="initialized, not started"),
    pytest.param(view(wanted(), CREATED), None, "Pending", id="made, not started"),
    pytest.param(view(wanted("a", "b"), UP), None, "Pending", id="one of two is absent"),
    pytest.param(view(wanted(), replace(CREATED, state=State.BROKEN)), None, "Pending", id="broken at first"),
    # 3. anything runs
    pytest.param(view(wanted(), UP), None, "Running", id="running"),
    pytest.param(view(wanted(init=True), INIT_DONE, UP), None, "Running", id="initialized and running"),
    pytest.param(view(wanted(), PAUSED), None, "Running", id="paused"),
    pytest.param(view(wanted("a", "b"), UP, B_FAILED), None, "Running", id="one runs, one failed"),
    pytest.param(view(wanted("a", "b", policy="Never"), UP, B_FAILED), None, "Running", id="one runs yet, Never"),
    # 4. nothing runs, something ended
    pytest.param(view(wanted(), BACKING_OFF), None, "Running", id="CrashLoopBackOff is Running"),
    pytest.param(view(wanted(), FAILED, AGAIN), None, "Running", id="waiting with a last termination is stopped"),
    pytest.param(view(wanted(), DONE), None, "Running", id="ended well, Always"),
    pytest.param(view(wanted(policy="OnFailure"), DONE), None, "Succeeded", id="ended well, OnFailure"),
    pytest.param(view(wanted(policy="Never"), DONE), None, "Succeeded", id="ended well, Never"),
    pytest.param(view(wanted("a", "b", policy="Never"), DONE, B_DONE), None, "Succeeded", id="both ended well"),
    pytest.param(view(wanted("a", "b", policy="Never"), DONE, B_FAILED), None, "Failed", id="one failed, Never"),
    pytest.param(view(wanted("a", "b", policy="OnFailure"), DONE, B_FAILED), None, "Running", id="one is retried"),
    # what does not change any more
    pytest.param(view(wanted(), DONE), "Succeeded", "Succeeded", id="Succeeded stays"),
    pytest.param(view(wanted(), FAILED), "Failed", "Failed", id="Failed stays"),
    pytest.param(view(wanted(), UP), "Succeeded", "Running", id="but one that is run again is not done"),
    pytest.param(view(wanted(deleting=True)), "Running", "Running", id="what goes away is not Pending again"),
    pytest.param(view(wanted(deleting=True), FAILED), "Running", "Running", id="nor is what was stopped Failed"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "before", "phase"), PHASES)
def test_phase(seen: PodView, before: str | None, phase: str) -> None:
    assert pod_status(seen, {"phase": before} if before else {})["phase"] == phase


def failure(reason: str, at: float = NOW - 5, count: int = 1) -> Failure:
    return Failure(reason, "the words", count, at)


BLOCKED = replace(wanted().containers[0], blocked=Blocked("CreateContainerConfigError", "no key"))
NEVER = replace(wanted().containers[0], pull_policy="Never")
ALWAYS = replace(wanted().containers[0], pull_policy="Always")
CRASH = "back-off 10s restarting failed container=a pod=web_default"
PULL = 'Back-off pulling image "web:1": ErrImagePull: the words'

WAITING = [
    pytest.param(view(wanted()), "ContainerCreating", "", id="absent"),
    pytest.param(view(wanted(), CREATED), "ContainerCreating", "", id="not started"),
    pytest.param(view(wanted(), replace(UP, state=State.BROKEN, fault="removed by hand")), "ContainerCreating",
                 "removed by hand", id="broken"),
    pytest.param(view(wanted(init=True), INIT_UP), "PodInitializing", "", id="initializing"),
    pytest.param(view(wanted(init=True), INIT_DONE), "ContainerCreating", "", id="initialized"),
    pytest.param(view(wanted(), FAILED), "ContainerCreating", "", id="the first crash restarts at once"),
    pytest.param(view(wanted(), BACKING_OFF), "CrashLoopBackOff", CRASH, id="the second backs off"),
    pytest.param(view(wanted(), replace(BACKING_OFF, backoff_level=9)), "CrashLoopBackOff",
                 CRASH.replace("10s", "300s"), id="up to five minutes"),
    pytest.param(view(wanted(), replace(BACKING_OFF, backoff_level=5000)), "CrashLoopBackOff",
                 CRASH.replace("10s", "300s"), id="for ever"),
    pytest.param(view(replace(wanted(), containers=(BLOCKED,))), "CreateContainerConfigError", "no key", id="blocked"),
    pytest.param(view(replace(wanted(), containers=(NEVER,)), images={}), "ErrImageNeverPull",
                 'Container image "web:1" is not present with pull policy of Never', id="absent image, Never"),
    pytest.param(view(replace(wanted(), containers=(NEVER,))), "ContainerCreating", "", id="present image, Never"),
    pytest.param(view(wanted(), images={}, failures={IMAGE: failure("ErrImagePull", NOW - 1)}), "ErrImagePull",
                 "the words", id="a pull that just failed"),
    pytest.param(view(wanted(), images={}, failures={IMAGE: failure("ErrImagePull")}), "ImagePullBackOff", PULL,
                 id="a pull that failed and waits"),
    pytest.param(view(wanted(), images={}, failures={IMAGE: failure("ErrImagePull", NOW - 10)}), "ErrImagePull",
                 "the words", id="a pull that is tried again"),
    pytest.param(view(wanted(), images={}, failures={IMAGE: failure("InvalidImageName")}), "ImagePullBackOff",
                 PULL.replace("ErrImagePull", "InvalidImageName"), id="another reason"),
    pytest.param(view(wanted(), BACKING_OFF, failures={IMAGE: failure("ErrImagePull")}), "CrashLoopBackOff", CRASH,
                 id="a failed pull of an image that is there by now says nothing"),
    pytest.param(view(replace(wanted(), containers=(ALWAYS,)), failures={IMAGE: failure("ErrImagePull")}),
                 "ImagePullBackOff", PULL, id="unless it must be pulled"),
    pytest.param(view(wanted(), failures={"a": failure("CreateContainerError")}), "CreateContainerError", "the words",
                 id="cannot be made"),
    pytest.param(view(wanted(), CREATED, failures={"a": failure("RunContainerError")}), "RunContainerError",
                 "the words", id="cannot be started"),
    pytest.param(view(wanted(), failures={"b": failure("CreateContainerError")}), "ContainerCreating", "",
                 id="the failure of another"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "reason", "message"), WAITING)
def test_waiting(seen: PodView, reason: str, message: str) -> None:
    (status,) = pod_status(seen, {})["containerStatuses"]
    assert status["state"] == {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    assert not status["ready"]
    assert not status["started"]


def test_a_running_container() -> None:
    (status,) = pod_status(view(wanted(), UP), {})["containerStatuses"]
    assert status == {
        "name": "a",
        "image": "web:1",
        "imageID": "sha256:1",
        "restartCount": 0,
        "started": True,
        "ready": True,
        "containerID": "reconciler://a0",
        "state": {"running": {"startedAt": "2026-09-21T14:12:30Z"}},
    }


def test_a_container_that_runs_on_until_its_new_image_can_be_had_shows_the_old_one() -> None:
    (status,) = pod_status(view(wanted(image="docker.io/library/new:1"), UP), {})["containerStatuses"]
    assert (status["image"], status["imageID"]) == ("web:1", "sha256:1")


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (DONE, {"exitCode": 0, "reason": "Completed"}),
        (FAILED, {"exitCode": 1, "reason": "Error"}),
        (replace(FAILED, exit_code=137), {"exitCode": 137, "reason": "Error"}),
        (replace(FAILED, exit_code=137, oom_killed=True), {"exitCode": 137, "reason": "OOMKilled"}),
        (replace(FAILED, message="last words"), {"exitCode": 1, "reason": "Error", "message": "last words"}),
        (replace(FAILED, exit_code=None), {"exitCode": 255, "reason": "Error"}),
    ],
)
def test_a_container_that_ended(container: SeenContainer, expected: dict[str, Any]) -> None:
    (status,) = pod_status(view(wanted(policy="Never"), container), {})["containerStatuses"]
    ended = {
        "startedAt": "2026-09-21T14:12:30Z",
        "finishedAt": "2026-09-21T14:13:15Z",
        "containerID": "reconciler://a0",
    }
    assert status["state"] == {"terminated": ended | expected}
    assert "lastState" not in status


@pytest.mark.parametrize(
    ("containers", "restarts", "last"),
    [
        ((UP,), 0, None),
        ((FAILED, replace(UP, id="a1", attempt=1)), 1, "a0"),
        ((FAILED, AGAIN), 1, "a0"),
        ((BACKING_OFF,), 1, "a1"),
        ((replace(FAILED, id="a4", attempt=4), replace(UP, id="a5", attempt=5)), 5, "a4"),
    ],
)
def test_restarts_and_the_last_end(containers: tuple[SeenContainer, ...], restarts: int, last: str | None) -> None:
    (status,) = pod_status(view(wanted(), *containers), {})["containerStatuses"]
    assert status["restartCount"] == restarts
    shown = status.get("lastState", {}).get("terminated", {}).get("containerID")
    assert shown == (f"reconciler://{last}" if last else None)


def test_init_containers_are_ready_when_they_are_done() -> None:
    want = wanted(init=True)
    running, done, failed = (
        pod_status(view(want, c), {})["initContainerStatuses"][0] for c in (INIT_UP, INIT_DONE, INIT_FAILED)
    )
    assert [s["ready"] for s in (running, done, failed)] == [False, True, False]
    assert [next(iter(s["state"])) for s in (running, done, failed)] == ["running", "terminated", "waiting"]


# Conditions


def holds(status: Mapping[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] + (f" {c['reason']}" if "reason" in c else "") for c in status["conditions"]}


NO = "False ContainersNotReady"
CONDITIONS = [
    pytest.param(blank(wanted()), "False", "True", NO, id="nothing yet"),
    pytest.param(view(wanted()), "True", "True", NO, id="a sandbox"),
    pytest.param(view(wanted(init=True), INIT_UP), "True", "False ContainersNotInitialized", NO, id="initializing"),
    pytest.param(view(wanted(), UP), "True", "True", "True", id="ready"),
    pytest.param(view(wanted("a", "b"), UP), "True", "True", NO, id="half of it"),
    pytest.param(
        view(wanted(), UP, sandbox=replace(SANDBOX, fault="netns gone")), "False", "True", NO, id="no network"
    ),
    pytest.param(view(wanted(policy="Never"), DONE), "False", "True", "False PodCompleted", id="done"),
    pytest.param(view(wanted(policy="Never"), FAILED), "False", "True", "False PodFailed", id="failed"),
]


@pytest.mark.parametrize(("seen", "network", "initialized", "ready"), CONDITIONS)
def test_conditions(seen: PodView, network: str, initialized: str, ready: str) -> None:
    assert holds(pod_status(seen, {})) == {
        "PodReadyToStartContainers": network,
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": "True",
    }


def test_the_message_names_what_is_not_ready() -> None:
    status = pod_status(view(wanted("a", "b", "c"), UP), {})
    messages = {c["type"]: c.get("message") for c in status["conditions"]}
    assert messages["Ready"] == "containers with unready status: [b c]"


def test_transition_times_move_only_with_their_condition() -> None:
    first = pod_status(view(wanted()), {})
    later = pod_status(replace(view(wanted(), UP), now=NOW + 60), first)
    last = pod_status(replace(view(wanted(), UP), now=NOW + 120), later)
    moved = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    assert moved["Ready"] == "2026-09-21T14:14:20Z"
    assert moved["PodScheduled"] == TIME
    assert last == later


# The rest of a pod's status


def test_addresses_and_times() -> None:
    status = pod_status(view(wanted(), UP), {})
    assert (status["podIP"], status["podIPs"]) == ("10.0.0.2", [{"ip": "10.0.0.2"}])
    assert (status["hostIP"], status["startTime"]) == ("192.0.2.1", "2026-09-21T14:10:00Z")
    assert "podIP" not in pod_status(view(wanted(), sandbox=replace(SANDBOX, fault="gone")), {})
    assert pod_status(view(wanted(), UP), {"startTime": "then"})["startTime"] == "then"


def test_the_generation_is_observed_once_nothing_is_left_to_do() -> None:
    before = {"observedGeneration": 2}
    assert pod_status(view(wanted(), UP), before)["observedGeneration"] == 3
    assert pod_status(view(wanted(), UP, converged=False), before)["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (blank(wanted(blocked=Blocked("FailedMount", "no secret"))), "FailedMount"),
        (blank(wanted(), failures={"": failure("HostPortConflict")}), "HostPortConflict"),
        (view(wanted(), UP, failures={"": failure("HostPortConflict")}), None),
        (blank(wanted()), None),
    ],
)
def test_why_there_is_no_sandbox(seen: PodView, reason: str | None) -> None:
    assert pod_status(seen, {}).get("reason") == reason


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (pod_status(view(wanted(), UP), {}), True),
        (pod_status(view(wanted(), UP, converged=False), {}), False),
        (pod_status(view(wanted()), {}), False),
        (pod_status(view(wanted(policy="Never"), DONE), {}), True),
        (pod_status(view(wanted(policy="Never"), FAILED), {}), False),
    ],
)
def test_settled(status: Mapping[str, Any], expected: bool) -> None:
    assert settled(status, 3) == expected


def test_a_failed_pull_is_looked_at_again_when_it_becomes_a_back_off() -> None:
    assert refresh_at(view(wanted(), failures={IMAGE: failure("ErrImagePull", NOW)})) == NOW + 2
    assert refresh_at(view(wanted(), failures={IMAGE: failure("ErrImagePull", NOW - 2)})) is None
    assert refresh_at(view(wanted())) is None


BOTH = "{limits: {cpu: 1, memory: 1Gi}}"


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        (("{}",), "BestEffort"),
        (("{requests: {cpu: 0}}",), "BestEffort"),
        ((BOTH,), "Guaranteed"),
        (("{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}",), "Guaranteed"),
        (("{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}",), "Burstable"),
        (("{limits: {memory: 1Gi}}",), "Burstable"),
        (("{requests: {cpu: 1}}",), "Burstable"),
        ((BOTH, BOTH), "Guaranteed"),
        ((BOTH, "{}"), "Burstable"),
    ],
)
def test_qos_class(resources: tuple[str, ...], qos: str) -> None:
    assert pod_status(replace(view(wanted(), UP), pod=pod(*resources)), {})["qosClass"] == qos


# Workloads

READY: Mapping[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
SPEC = """
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web}]}
"""


def workload(kind: str, replicas: int, status: Mapping[str, Any] = MappingProxyType({})) -> Record:
    obj = declared(f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}{SPEC % replicas}")
    return Record(Ref(kind, "default", "web"), obj, "uid", NOW, generation=2, status=status)


def pods(*states: str) -> list[Record]:
    """`r` is ready, `n` not, `d` ready and being deleted."""
    return [
        Record(
            Ref("Pod", "default", f"web-{n}"),
            POD,
            "uid",
            NOW,
            status=READY if state in "rd" else {},
            deleted_at=NOW if state == "d" else None,
        )
        for n, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", {"replicas": 0, "fullyLabeledReplicas": 0}),
        ("nn", {"replicas": 2, "fullyLabeledReplicas": 2}),
        ("rn", {"replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 1, "availableReplicas": 1}),
        ("rrd", {"replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}),
    ],
)
def test_replica_set(states: str, expected: dict[str, int]) -> None:
    found = pods(*states)
    assert workload_status(workload("ReplicaSet", 2), found, found, NOW) == {"observedGeneration": 2, **expected}


@pytest.mark.parametrize(
    ("replicas", "states", "counts", "available", "progressing"),
    [
        (2, "nn", {"replicas": 2, "updatedReplicas": 2, "unavailableReplicas": 2}, "False", "ReplicaSetUpdated"),
        (
            2,
            "rn",
            {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 1},
            "False",
            "ReplicaSetUpdated",
        ),
        (
            2,
            "rrd",
            {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2},
            "True",
            "NewReplicaSetAvailable",
        ),
        (0, "", {"replicas": 0, "updatedReplicas": 0}, "True", "NewReplicaSetAvailable"),
    ],
)
def test_deployment(replicas: int, states: str, counts: dict[str, int], available: str, progressing: str) -> None:
    record = workload("Deployment", replicas)
    status = workload_status(record, [workload("ReplicaSet", replicas)], pods(*states), NOW)
    conditions = {c["type"]: c for c in status.pop("conditions")}
    assert status == {"observedGeneration": 2, **counts}
    assert conditions["Available"]["status"] == available
    assert conditions["Progressing"]["status"] == "True"
    assert conditions["Progressing"]["reason"] == progressing


def test_the_conditions_of_a_deployment_keep_their_times() -> None:
    first = workload_status(workload("Deployment", 1), [], pods("n"), NOW)
    later = workload_status(workload("Deployment", 1, first), [], pods("r"), NOW + 60)
    moved = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    assert moved == {"Available": "2026-09-21T14:14:20Z", "Progressing": TIME}
