"""The kinds that the API serves under Kubernetes' paths, and the discovery documents made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KUBERNETES_MINOR = 36  # whose API this is; kubectl warns when its own is further than one away
_METADATA = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind. `fields` are the field selectors it knows besides those of its metadata."""

    kind: str
    plural: str
    group: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def group_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def root(self) -> str:
        """The path before `/namespaces/...` or the plural."""
        return f"/apis/{self.group}/v1" if self.group else "/api/v1"

    @property
    def selectable(self) -> tuple[str, ...]:
        """Every field a selector may name."""
        return (*_METADATA, *self.fields) if self.namespaced else (_METADATA[0], *self.fields)


POD = Resource(
    "Pod",
    "pods",
    short_names=("po",),
    categories=("all",),
    fields=(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    subresources=("log", "exec"),
)
RESOURCES = (
    Resource("ConfigMap", "configmaps", short_names=("cm",)),
    Resource(
        "Event",
        "events",
        short_names=("ev",),
        fields=(
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ),
    ),
    Resource("Namespace", "namespaces", short_names=("ns",), namespaced=False, fields=("status.phase",)),
    POD,
    Resource("Secret", "secrets", fields=("type",)),
    Resource("Deployment", "deployments", "apps", ("deploy",), categories=("all",)),
    Resource("ReplicaSet", "replicasets", "apps", ("rs",), categories=("all",), fields=("status.replicas",)),
)
_GROUPS = ("apps",)


def api_versions() -> dict[str, Any]:
    """GET /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_groups() -> dict[str, Any]:
    """GET /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _GROUPS]}


def api_group(name: str) -> dict[str, Any]:
    """GET /apis/{group}."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def api_resources(group: str) -> dict[str, Any]:
    """GET /api/v1 and /apis/{group}/v1."""
    listed: list[dict[str, Any]] = []
    for resource in RESOURCES:
        if resource.group != group:
            continue
        described: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["get", "list", "watch"],
        }
        if resource.short_names:
            described["shortNames"] = list(resource.short_names)
        if resource.categories:
            described["categories"] = list(resource.categories)
        listed.append(described)
        listed += [_SUBRESOURCES[name] | {"name": f"{resource.plural}/{name}"} for name in resource.subresources]
    group_version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


_SUBRESOURCES: dict[str, dict[str, Any]] = {
    "log": {"singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
    "exec": {"singularName": "", "namespaced": True, "kind": "PodExecOptions", "verbs": ["create", "get"]},
}


def server_version(own: str) -> dict[str, str]:
    """GET /version. `own` is the version of this program."""
    return {
        "major": "1",
        "minor": str(KUBERNETES_MINOR),
        "gitVersion": f"v1.{KUBERNETES_MINOR}.0+reconciler.{own}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }
