"""The kinds of Kubernetes that are not carried out, so that each gets an honest answer."""

from __future__ import annotations

from difflib import get_close_matches

from reconciler.manifest.problems import Scope
from reconciler.model.kinds import KINDS

_BUILTIN: dict[str, str] = {
    "v1": "Binding ComponentStatus Endpoints Event LimitRange Node PersistentVolume PersistentVolumeClaim "
    "PodTemplate ReplicationController ResourceQuota Service ServiceAccount",
    "admissionregistration.k8s.io": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding "
    "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
    "ValidatingWebhookConfiguration",
    "apiextensions.k8s.io": "CustomResourceDefinition",
    "apiregistration.k8s.io": "APIService",
    "apps": "ControllerRevision DaemonSet StatefulSet",
    "authentication.k8s.io": "SelfSubjectReview TokenRequest TokenReview",
    "authorization.k8s.io": "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview "
    "SubjectAccessReview",
    "autoscaling": "HorizontalPodAutoscaler Scale",
    "batch": "CronJob Job",
    "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle PodCertificateRequest",
    "coordination.k8s.io": "Lease LeaseCandidate",
    "discovery.k8s.io": "EndpointSlice",
    "events.k8s.io": "Event",
    "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
    "internal.apiserver.k8s.io": "StorageVersion",
    "networking.k8s.io": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "node.k8s.io": "RuntimeClass",
    "policy": "Eviction PodDisruptionBudget",
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "resource.k8s.io": "DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice",
    "scheduling.k8s.io": "PodGroup PriorityClass Workload",
    "storage.k8s.io": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
    "storagemigration.k8s.io": "StorageVersionMigration",
}
"""Kinds by group ("v1" is the core group), without those of `KINDS`."""

_SUPPORTED = {kind: version for version, kind in KINDS}


def unsupported(version: str, kind: str) -> tuple[str, Scope]:
    """What to say of an (apiVersion, kind) that is not in KINDS, and what the fault keeps back.

    A kind that somebody else carries out keeps back only itself; what looks like a slip, the file.
    """
    shown_kind, shown_version = _short(kind), _short(version)
    group = version.rpartition("/")[0] or version
    if kind in _BUILTIN.get(group, "").split():
        return f"{shown_kind} ({shown_version}) is not supported yet: it is left out, and the rest goes on", "object"
    if kind in _SUPPORTED:
        return f"{shown_kind} has no version {shown_version}; did you mean apiVersion: {_SUPPORTED[kind]}?", "file"
    if "." in group and not group.endswith(".k8s.io"):
        return f"{shown_kind} ({shown_version}) is a custom resource, and nothing here carries it out", "object"
    known = [*_SUPPORTED, *(each for kinds in _BUILTIN.values() for each in kinds.split())]
    near = get_close_matches(kind[:100], known, n=1, cutoff=0.7)
    if near and near[0] != kind:
        return f'unknown kind {shown_kind}; did you mean "{near[0]}"?', "file"
    return f"unknown kind {shown_kind} in apiVersion {shown_version}", "file"


def _short(text: str) -> str:
    return text if len(text) <= 80 and text.isprintable() else repr(text[:40]) + "..."
