"""What `logs` and `exec` take for a container, and the logs verb."""

from __future__ import annotations

from typing import Any

import click
import pytest

from reconciler.cli.target import Target, pick_container

PODS = "/api/v1/namespaces/default/pods"
CONTAINERS = "GET /apis/reconciler.io/v1alpha1/containers"


def row(id: str, pod: str, name: str = "main", namespace: str = "default", attempt: int = 0) -> dict[str, Any]:
    return {"id": id, "pod": pod, "name": name, "namespace": namespace, "attempt": attempt}


ROWS = [
    row("aaaa1111", "web-0", attempt=0),
    row("aaaa2222", "web-0", attempt=1),
    row("bbbb3333", "db-0", "postgres"),
    row("bbbb4444", "db-0", "backup", namespace="shop"),
]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param("postgres", Target("default", "db-0", "postgres"), id="by name"),
        pytest.param("main", Target("default", "web-0", "main"), id="all attempts are one container"),
        pytest.param("aaaa2", Target("default", "web-0", "main"), id="id of the latest attempt"),
        pytest.param("aaaa1", Target("default", "web-0", "main", superseded=True), id="id of an attempt before"),
        pytest.param("bbbb4", Target("shop", "db-0", "backup"), id="an id is found in any namespace"),
        pytest.param("backup", None, id="a name only in its own namespace"),
        pytest.param("aaa", None, id="too short for an id"),
        pytest.param("cccc", None, id="nothing"),
    ],
)
def test_pick_container(name: str, target: Target | None) -> None:
    assert pick_container(ROWS, name, "default") == target


def test_an_id_that_fits_several_pods_names_them() -> None:
    with pytest.raises(click.UsageError, match="say which: db-0/postgres, shop/db-0/backup"):
        pick_container(ROWS, "bbbb", "default")


def pod(name: str, *containers: str, ready: bool = True, owner: str = "", **meta: Any) -> dict[str, Any]:
    owners = [{"uid": owner, "kind": "ReplicaSet", "name": "x", "controller": True}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners, **meta},
        "spec": {"containers": [{"name": c} for c in containers or ("main",)]},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def test_logs_of_a_pod_by_name(run, daemon) -> None:
    daemon.on(f"GET {PODS}/web-0", pod("web-0"))
    daemon.on(f"GET {PODS}/web-0/log", b"one\ntwo\n")
    assert run("logs", "web-0").out == "one\ntwo\n"
    assert daemon.requests[-1].query == {"container": "main"}


def test_logs_options_become_the_apis(run, daemon) -> None:
    daemon.on(f"GET {PODS}/web-0", pod("web-0"))
    daemon.on(f"GET {PODS}/web-0/log", b"")
    run("logs", "-f", "-t", "-p", "--tail", "5", "--since", "1m30s", "web-0")
    assert daemon.requests[-1].query == {
        "container": "main",
        "follow": "true",
        "timestamps": "true",
        "previous": "true",
        "tailLines": "5",
        "sinceSeconds": "90",
    }


def test_bytes_pass_as_they_are(run, daemon) -> None:
    daemon.on(f"GET {PODS}/web-0", pod("web-0"))
    daemon.on(f"GET {PODS}/web-0/log", "ä\r\nno newline".encode())
    assert run("logs", "web-0").out.encode() == "ä\r\nno newline".encode()


def test_the_first_container_is_the_default_and_said_so(run, daemon) -> None:
    daemon.on(f"GET {PODS}/web-0", pod("web-0", "app", "log"))
    daemon.on(f"GET {PODS}/web-0/log", b"")
    assert run("logs", "web-0").err == 'Defaulted container "app" out of: app, log\n'
    assert run("logs", "web-0", "-c", "log").err == ""
    assert daemon.requests[-1].query["container"] == "log"
    daemon.on(
        f"GET {PODS}/web-0",
        pod("web-0", "app", "log", annotations={"kubectl.kubernetes.io/default-container": "log"}),
    )
    assert run("logs", "web-0").err == ""
    assert daemon.requests[-1].query["container"] == "log"


def test_a_container_that_the_pod_has_not(run, daemon) -> None:
    daemon.on(f"GET {PODS}/web-0", pod("web-0", "app"))
    result = run("logs", "web-0", "-c", "nope")
    assert (result.code, result.err) == (1, "Error: container nope is not valid for pod web-0; it has app\n")


def test_a_deployment_stands_for_its_youngest_ready_pod(run, daemon) -> None:
    daemon.on("GET /apis/apps/v1/namespaces/default/deployments/web", {"metadata": {"uid": "D"}})
    daemon.on(
        "GET /apis/apps/v1/namespaces/default/replicasets",
        {"items": [{"metadata": {"uid": "R", "ownerReferences": [{"uid": "D"}]}}, {"metadata": {"uid": "R2"}}]},
    )
    pods = [
        pod("web-old", owner="R", creationTimestamp="2026-01-01T00:00:00Z"),
        pod("web-new", owner="R", creationTimestamp="2026-01-02T00:00:00Z"),
        pod("web-newest", owner="R", creationTimestamp="2026-01-03T00:00:00Z", ready=False),
        pod("other", owner="R2", creationTimestamp="2026-01-04T00:00:00Z"),
    ]
    daemon.on(f"GET {PODS}", {"items": pods})
    daemon.on(f"GET {PODS}/web-new/log", b"hello\n")
    result = run("logs", "deploy/web")
    assert (result.code, result.out, result.err) == (0, "hello\n", "Found 3 pods, using pod/web-new\n")


def test_a_deployment_without_pods(run, daemon) -> None:
    daemon.on("GET /apis/apps/v1/namespaces/default/deployments/web", {"metadata": {"uid": "D"}})
    daemon.on("GET /apis/apps/v1/namespaces/default/replicasets", {"items": []})
    daemon.on(f"GET {PODS}", {"items": [pod("other", owner="R2")]})
    result = run("logs", "deploy/web")
    assert (result.code, result.err) == (1, "Error: deployment.apps/web has no pods\n")


def test_names_as_ps_prints_them(run, daemon) -> None:
    daemon.on(f"GET {PODS}/web-0", pod("web-0", "app", "log"))
    daemon.on(f"GET {PODS}/web-0/log", b"")
    assert run("logs", "web-0/log").err == ""
    assert daemon.requests[-1].query["container"] == "log"
    daemon.on("GET /api/v1/namespaces/shop/pods/db-0", pod("db-0", "a", namespace="shop"))
    daemon.on("GET /api/v1/namespaces/shop/pods/db-0/log", b"x\n")
    assert run("logs", "shop/db-0/a").out == "x\n"


def test_an_id_of_an_attempt_before_shows_its_logs(run, daemon) -> None:
    daemon.on(CONTAINERS, ROWS)
    daemon.on(f"GET {PODS}/web-0/log", b"")
    run("logs", "aaaa1111")
    assert daemon.requests[-1].query == {"container": "main", "previous": "true"}


def test_what_is_nowhere_is_not_found_in_kubectls_words(run, daemon) -> None:
    daemon.on(CONTAINERS, ROWS)
    result = run("logs", "nothing")
    assert (result.code, result.err) == (1, 'Error: pods "nothing" not found\n')
