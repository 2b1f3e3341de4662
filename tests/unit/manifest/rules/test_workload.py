"""Deployments and ReplicaSets are held to the API server's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Check = Callable[..., None]


def deployment(kind: str = "Deployment", template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    inside = {"containers": [{"name": "c", "image": "i"}], **(template or {})}
    body = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": inside},
        **spec,
    }
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": body}


TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}


def rolling(surge: Any, unavailable: Any) -> dict[str, Any]:
    return {"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (deployment(), []),
        (deployment(replicas=0), []),
        (deployment(replicas=-1), ["replicas: -1 must be 0 or more"]),
        (
            deployment(selector=None),
            ["selector: required: it says which pods belong to this Deployment; copy the template's"],
        ),
        (
            deployment("ReplicaSet", selector={}),
            ["selector: must not be empty: it says which pods belong to this ReplicaSet"],
        ),
        (
            deployment(selector={"matchLabels": {"app": "db"}}),
            ["template.metadata.labels: spec.selector does not match these labels: it asks for app: db"],
        ),
        (
            deployment(selector={"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}),
            ["template.metadata.labels: spec.selector does not match these labels: its matchExpressions"],
        ),
        (
            deployment(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
            ["selector.matchExpressions[0].values: required", "template.metadata.labels: "],
        ),
        (
            deployment(template={"restartPolicy": "Never"}),
            ['template.spec.restartPolicy: "Never" is not for a Deployment'],
        ),
        (
            deployment(template={"activeDeadlineSeconds": 5}),
            ["template.spec.activeDeadlineSeconds: a Deployment has no"],
        ),
        (deployment(template={"containers": []}), ["template.spec.containers: required"]),
        (
            deployment(
                template={
                    "hostNetwork": True,
                    "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}],
                }
            ),
            [],
        ),
        (
            deployment(
                template={
                    "hostNetwork": True,
                    "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}],
                }
            ),
            ["template.spec.containers[0].ports[0].hostPort: 81 must equal containerPort"],
        ),
        (deployment(template={"containers": [{"name": "c", "image": " i"}]}), []),
        (deployment(template={"volumes": [{"name": "v", "projected": TOKEN}]}), []),
        (deployment(minReadySeconds=600), ["progressDeadlineSeconds: 600 must be more than minReadySeconds (600)"]),
        (deployment(**rolling(0, 0)), ["strategy.rollingUpdate.maxUnavailable: must not be 0 when maxSurge is 0 too"]),
        (deployment(**rolling("0%", 1)), []),
        (
            deployment(**rolling("x", -1)),
            ['strategy.rollingUpdate.maxSurge: "x" must be a number', "strategy.rollingUpdate.maxUnavailable: -1"],
        ),
        (
            deployment(**rolling(1, "101%")),
            ['strategy.rollingUpdate.maxUnavailable: "101%" must not be more than 100%'],
        ),
        (deployment(strategy={"type": "Recreate"}), []),
        (deployment(strategy={"type": "Recreate", "rollingUpdate": {}}), ["strategy.rollingUpdate: must be left out"]),
    ],
)
def test_workloads(manifest: dict[str, Any], expected: list[str], check: Check) -> None:
    check(manifest, "spec.", *expected)
