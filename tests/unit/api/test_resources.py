"""Discovery, as kubectl reads it."""

from __future__ import annotations

import re

from reconciler.api.resources import api_group, api_groups, api_resources, server_version


def test_core_resources() -> None:
    described = {resource["name"]: resource for resource in api_resources("")["resources"]}
    assert set(described) == {"configmaps", "events", "namespaces", "pods", "pods/log", "pods/exec", "secrets"}
    assert described["pods"]["verbs"] == ["get", "list", "watch"]
    assert described["pods"]["shortNames"] == ["po"]
    assert described["namespaces"]["namespaced"] is False


def test_apps_resources() -> None:
    answer = api_resources("apps")
    assert answer["groupVersion"] == "apps/v1"
    assert {resource["name"] for resource in answer["resources"]} == {"deployments", "replicasets"}
    assert all(resource["categories"] == ["all"] for resource in answer["resources"])


def test_groups() -> None:
    (group,) = api_groups()["groups"]
    assert group["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert api_group("apps").items() >= group.items()


def test_version_is_a_semantic_version_of_kubernetes() -> None:
    version = server_version("0.1.0")
    assert re.fullmatch(r"v1\.\d+\.\d+\+reconciler\.0\.1\.0", version["gitVersion"])
    assert version["gitVersion"].split(".")[1] == version["minor"]
