"""The STATUS, READY and RESTARTS of a pod, as kubectl shows them."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.api.podtext import pod_cells

Json = dict[str, Any]


def container(name: str = "app", *, ready: bool = False, restarts: int = 0, last: str = "", **state: Any) -> Json:
    ended = {"terminated": {"finishedAt": last, "exitCode": 1}} if last else {}
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state, "lastState": ended}


UP = container(ready=True, running={"startedAt": "2026-11-23T11:59:00Z"})


def pod(*main: Json, phase: str = "Running", init: list[Json] | None = None, **more: Any) -> Json:
    spec: Json = {"containers": [{"name": c["name"]} for c in main] or [{"name": "app"}]}
    status: Json = {"phase": phase, "containerStatuses": list(main), **more.pop("status", {})}
    if init is not None:
        spec["initContainers"] = more.pop("init_spec", [{"name": c["name"]} for c in init])
        status["initContainerStatuses"] = init
    return {"metadata": {"name": "web", **more}, "spec": spec, "status": status}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
SIDECAR = [{"name": "side", "restartPolicy": "Always"}]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param({"metadata": {}, "spec": {"containers": [{"name": "app"}]}}, "Unknown", id="no status yet"),
        pytest.param(pod(phase="Pending"), "Pending", id="nothing seen yet"),
        pytest.param(pod(UP), "Running", id="running"),
        pytest.param(pod(container(waiting={"reason": "ContainerCreating"}), phase="Pending"), "ContainerCreating"),
        pytest.param(pod(container(waiting={"reason": "CrashLoopBackOff"})), "CrashLoopBackOff", id="crash loop"),
        pytest.param(pod(UP, container("b", waiting={"reason": "ErrImagePull"})), "ErrImagePull", id="one of two"),
        pytest.param(
            pod(container("a", terminated={"reason": "Error", "exitCode": 1}), container("b", waiting={"reason": "X"})),
            "Error",
            id="the first that has something to say",
        ),
        pytest.param(pod(container(terminated={"exitCode": 3}), phase="Failed"), "ExitCode:3", id="without reason"),
        pytest.param(pod(container(terminated={"exitCode": 0, "signal": 9})), "Signal:9", id="by a signal"),
        pytest.param(
            pod(container(terminated={"reason": "Completed", "exitCode": 0}), phase="Succeeded"),
            "Completed",
            id="completed",
        ),
        pytest.param(
            pod(container("a", terminated={"reason": "Completed"}), UP, status=READY), "Running", id="one done, one up"
        ),
        pytest.param(
            pod(container("a", terminated={"reason": "Completed"}), UP), "NotReady", id="one done, and not ready"
        ),
        pytest.param(pod(UP, status={"reason": "Evicted"}, phase="Failed"), "Evicted", id="a reason of the pod"),
        pytest.param(pod(UP, deletionTimestamp="2026-11-23T12:00:00Z"), "Terminating", id="terminating"),
        pytest.param(
            pod(container(terminated={"reason": "Completed"}), phase="Succeeded", deletionTimestamp="x"),
            "Completed",
            id="ended before it was deleted",
        ),
        pytest.param(
            pod(phase="Pending", init=[container("i1", terminated={"exitCode": 0}), container("i2", running={})]),
            "Init:1/2",
            id="the second init container runs",
        ),
        pytest.param(
            pod(phase="Pending", init=[container("i", waiting={"reason": "CrashLoopBackOff"})]),
            "Init:CrashLoopBackOff",
            id="an init container crashes",
        ),
        pytest.param(
            pod(phase="Pending", init=[container("i", waiting={"reason": "PodInitializing"})]),
            "Init:0/1",
            id="an init container waits for its turn",
        ),
        pytest.param(
            pod(phase="Failed", init=[container("i", terminated={"exitCode": 2, "reason": "Error"})]),
            "Init:Error",
            id="an init container failed",
        ),
        pytest.param(
            pod(UP, init=[container("side", running={}) | {"started": True}], init_spec=SIDECAR),
            "Running",
            id="a sidecar that has started holds nothing back",
        ),
    ],
)
def test_status(seen: Json, word: str) -> None:
    assert pod_cells(seen).status == word


def test_ready_counts_sidecars_but_no_init_containers() -> None:
    init = [container("done", terminated={"exitCode": 0}), UP | {"name": "side", "started": True}]
    cells = pod_cells(pod(UP, container("b"), init=init, init_spec=[{"name": "done"}, *SIDECAR]))
    assert (cells.ready, cells.containers) == (2, 3)


def test_restarts_are_those_of_all_containers_and_the_latest_end() -> None:
    early, late = "2026-11-23T11:00:00Z", "2026-11-23T11:30:00Z"
    cells = pod_cells(pod(container("a", restarts=2, last=late), container("b", restarts=1, last=early)))
    assert (cells.restarts, cells.restarted_at) == (3, late)


def test_no_restart_has_no_time() -> None:
    assert pod_cells(pod(container("a", restarts=0, last="2026-11-23T11:00:00Z"))).restarted_at is None


def test_while_it_initializes_only_init_containers_count() -> None:
    init = [container("i", restarts=4, waiting={"reason": "CrashLoopBackOff"})]
    assert pod_cells(pod(container("a", restarts=1), phase="Pending", init=init)).restarts == 4


def test_readiness_gates() -> None:
    seen = pod(UP, status={"conditions": [{"type": "x/open", "status": "True"}]})
    seen["spec"]["readinessGates"] = [{"conditionType": "x/open"}, {"conditionType": "x/shut"}]
    assert pod_cells(seen).readiness_gates == "1/2"
