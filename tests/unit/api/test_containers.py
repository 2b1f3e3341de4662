"""Rows of `ps`."""

from __future__ import annotations

from reconciler.api.containers import container_rows, precise_time
from reconciler.model.kinds import Pod
from reconciler.model.observed import Observed, SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref

WEB, OLD = Ref("Pod", "default", "web"), Ref("Pod", "a", "old")
MANIFEST = Pod.model_validate(
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": "i:1",
                    "ports": [
                        {"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"},
                        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
                        {"containerPort": 9000},
                    ],
                },
                {"name": "other", "image": "i:1", "ports": [{"containerPort": 1, "hostPort": 1}]},
            ]
        },
    }
)


def test_a_row_says_all_there_is() -> None:
    sandbox = SeenSandbox("s2", "v1:s", addresses=("10.88.0.2",))
    up = SeenContainer(
        "c2", "app", "s2", "v1:c", State.RUNNING, attempt=1, image="docker.io/library/i:1", image_id="sha256:a", pid=7,
        created_at=10.0, started_at=11.25,
    )  # fmt: skip
    dead = SeenContainer(
        "c1", "app", "s1", "v1:c", State.EXITED, created_at=1.0, started_at=2.0, finished_at=3.0, exit_code=137,
        oom_killed=True,
    )  # fmt: skip
    first, second = container_rows(Observed({WEB: SeenPod(WEB, sandbox, (up, dead))}), {WEB: MANIFEST})
    ports = [
        {"containerPort": 80, "hostPort": 8080, "protocol": "TCP", "hostIP": "127.0.0.1"},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
    ]
    assert second == {
        "id": "c2", "sandboxId": "s2", "namespace": "default", "pod": "web", "name": "app",
        "image": "docker.io/library/i:1", "imageId": "sha256:a", "state": "running", "attempt": 1, "pid": 7,
        "createdAt": "1970-01-01T00:00:10.000000Z", "startedAt": "1970-01-01T00:00:11.250000Z",
        "addresses": ["10.88.0.2"], "ports": ports,
    }  # fmt: skip
    assert (first["id"], first["exitCode"], first["oomKilled"], first["addresses"]) == ("c1", 137, True, [])
    assert "pid" not in first


def test_an_exit_code_of_zero_is_one() -> None:
    done = SeenContainer("c", "app", "s", "v1:c", State.EXITED, exit_code=0)
    (row,) = container_rows(Observed({WEB: SeenPod(WEB, None, (done,))}), {})
    assert row["exitCode"] == 0
    assert row["ports"] == []


def test_what_is_wrong_is_said_of_the_container_or_else_of_what_it_stands_on() -> None:
    broken = SeenContainer("b", "b", "s", "v1:c", State.BROKEN, fault="no monitor")
    fine = SeenContainer("a", "a", "s", "v1:c", State.RUNNING)
    sandbox = SeenSandbox("s", "v1:s", fault="no network namespace")
    rows = container_rows(Observed({WEB: SeenPod(WEB, sandbox, (broken, fine))}), {})
    assert [row["fault"] for row in rows] == ["no network namespace", "no monitor"]


def test_rows_are_in_order_whatever_was_seen_first() -> None:
    def seen(ref: Ref) -> SeenPod:
        return SeenPod(ref, None, (SeenContainer("c", "c", "s", "v1:c", State.CREATED),))

    rows = container_rows(Observed({WEB: seen(WEB), OLD: seen(OLD)}), {})
    assert [row["pod"] for row in rows] == ["old", "web"]


def test_no_time() -> None:
    assert precise_time(None) is None
