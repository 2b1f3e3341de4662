"""The kinds that can be declared, by the names that manifests give them."""

from collections.abc import Mapping
from types import MappingProxyType

from reconciler.model.config import ConfigMap, Namespace, Secret
from reconciler.model.pod import Pod, PodSpec, PodTemplateSpec
from reconciler.model.ref import Ref
from reconciler.model.workload import Deployment, ReplicaSet

__all__ = [
    "KINDS", "ConfigMap", "Deployment", "Namespace", "Object", "Pod", "PodSpec", "PodTemplateSpec", "ReplicaSet",
    "Secret", "ref_of",
]  # fmt: skip

Object = Pod | ReplicaSet | Deployment | Namespace | ConfigMap | Secret

KINDS: Mapping[tuple[str, str], type[Object]] = MappingProxyType(
    {
        ("v1", "Pod"): Pod,
        ("apps/v1", "ReplicaSet"): ReplicaSet,
        ("apps/v1", "Deployment"): Deployment,
        ("v1", "Namespace"): Namespace,
        ("v1", "ConfigMap"): ConfigMap,
        ("v1", "Secret"): Secret,
    }
)
"""By (apiVersion, kind)."""


def ref_of(obj: Object) -> Ref:
    """The object's name to everything else; its namespace is filled in already."""
    return Ref(obj.kind, "" if obj.kind == "Namespace" else obj.metadata.namespace, obj.metadata.name)
