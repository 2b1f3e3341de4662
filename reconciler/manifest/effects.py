"""Known fields that change nothing here, as tables: what is not carried out yet, and what means nothing on one machine.

A field that is carried out from now on is taken out of its table; nothing else changes.
Paths are written as in manifests; those of a pod begin at its spec, wherever that is.
Each is told once an object, at its first place.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from reconciler.manifest.problems import Severity
from reconciler.manifest.rules.report import Finding, Report
from reconciler.manifest.yamltree import Location
from reconciler.model.kinds import Deployment, Object, Pod, PodSpec, ReplicaSet
from reconciler.model.meta import Declared, model_within

_PROBE = "probes are not carried out yet: the container counts as ready while it runs"
_HOOK = "lifecycle hooks are not carried out yet: this one never runs"
_SIDECAR = "sidecars are not carried out yet: the pod waits for this container to end before the next one starts"
_VOLUME = "volumes of this type are not carried out yet: containers that mount it do not start"
_ROLLOUT = "rolling updates are not carried out yet: a changed template replaces all pods at once"
_CLUSTER_DNS = "names of pods in DNS are not carried out yet: only the pod itself knows this name"
_RESTART = "restart policies of single containers are not carried out yet: the pod's counts"
_SCHEDULING = "has no effect: there is one machine, and every pod runs on it"
_ACCOUNT = "has no effect: there is no Kubernetes API here that pods could log in to"
_PRIORITY = "has no effect: no pod is ever put out for another"

POD_NOT_YET: Mapping[str, str] = {
    "containers[].livenessProbe": _PROBE,
    "containers[].readinessProbe": _PROBE,
    "containers[].startupProbe": _PROBE,
    "containers[].lifecycle.postStart": _HOOK,
    "containers[].lifecycle.preStop": _HOOK,
    "containers[].restartPolicy": _RESTART,
    "containers[].restartPolicyRules": _RESTART,
    "containers[].terminationMessagePolicy": "is not carried out yet: only the file is read",
    "containers[].resources.claims": "devices are not carried out yet: the container gets none",
    "containers[].volumeDevices": "block devices are not carried out yet: the container gets none",
    "containers[].volumeMounts[].recursiveReadOnly": "is not carried out yet: mounts inside the volume stay writable",
    "containers[].env[].valueFrom.fileKeyRef": "env files of volumes are not carried out yet: the variable is not set",
    "containers[].securityContext.seLinuxOptions": "SELinux is not carried out yet: the container runs unlabelled",
    "containers[].securityContext.appArmorProfile": "AppArmor is not carried out yet: nothing confines the container",
    "initContainers[].restartPolicy": _SIDECAR,
    "initContainers[].lifecycle.postStart": _HOOK,
    "initContainers[].lifecycle.preStop": _HOOK,
    "activeDeadlineSeconds": "is not carried out yet: the pod runs on",
    "hostUsers": "user namespaces are not carried out yet: root in the pod is root of the machine",
    "readinessGates": "is not carried out yet: the pod is ready when its containers are",
    "schedulingGates": "is not carried out yet: the pod starts at once",
    "resourceClaims": "devices are not carried out yet: the pod gets none",
    "resources": "limits of whole pods are not carried out yet: only those of its containers count",
    "setHostnameAsFQDN": _CLUSTER_DNS,
    "hostnameOverride": "is not carried out yet: the pod's host name is its name, or hostname",
    "subdomain": _CLUSTER_DNS,
    "securityContext.fsGroup": "is not carried out yet: volumes keep their owner",
    "securityContext.seLinuxOptions": "SELinux is not carried out yet: the pod runs unlabelled",
    "securityContext.appArmorProfile": "AppArmor is not carried out yet: nothing confines the pod",
    "volumes[].persistentVolumeClaim": _VOLUME,
    "volumes[].ephemeral": _VOLUME,
    "volumes[].image": _VOLUME,
    "volumes[].nfs": _VOLUME,
    "volumes[].csi": _VOLUME,
    "volumes[].gitRepo": _VOLUME,
    "volumes[].iscsi": _VOLUME,
    "volumes[].fc": _VOLUME,
    "volumes[].rbd": _VOLUME,
    "volumes[].cephfs": _VOLUME,
    "volumes[].glusterfs": _VOLUME,
    "volumes[].flexVolume": _VOLUME,
    "volumes[].flocker": _VOLUME,
    "volumes[].cinder": _VOLUME,
    "volumes[].awsElasticBlockStore": _VOLUME,
    "volumes[].azureDisk": _VOLUME,
    "volumes[].azureFile": _VOLUME,
    "volumes[].gcePersistentDisk": _VOLUME,
    "volumes[].photonPersistentDisk": _VOLUME,
    "volumes[].portworxVolume": _VOLUME,
    "volumes[].quobyte": _VOLUME,
    "volumes[].scaleIO": _VOLUME,
    "volumes[].storageos": _VOLUME,
    "volumes[].vsphereVolume": _VOLUME,
    "volumes[].projected.sources[].serviceAccountToken": "tokens are not carried out yet: the file is not there",
    "volumes[].projected.sources[].clusterTrustBundle": "trust bundles are not carried out yet: the file is not there",
    "volumes[].projected.sources[].podCertificate": "pod certificates are not carried out yet: the files are not there",
}
"""By path in a PodSpec."""

WORKLOAD_NOT_YET: Mapping[str, str] = {
    "spec.strategy.rollingUpdate.maxSurge": _ROLLOUT,
    "spec.strategy.rollingUpdate.maxUnavailable": _ROLLOUT,
    "spec.minReadySeconds": "is not carried out yet: a pod is available as soon as it is ready",
    "spec.progressDeadlineSeconds": "is not carried out yet: nothing reports a rollout that hangs",
    "spec.paused": "is not carried out yet: changes of the template apply at once",
}
"""By path in a Deployment or ReplicaSet."""

POD_NO_EFFECT: Mapping[str, str] = {
    "affinity": _SCHEDULING,
    "nodeName": _SCHEDULING,
    "nodeSelector": _SCHEDULING,
    "schedulerName": _SCHEDULING,
    "schedulingGroup": _SCHEDULING,
    "tolerations": _SCHEDULING,
    "topologySpreadConstraints": _SCHEDULING,
    "priority": _PRIORITY,
    "priorityClassName": _PRIORITY,
    "preemptionPolicy": _PRIORITY,
    "serviceAccountName": _ACCOUNT,
    "automountServiceAccountToken": _ACCOUNT,
    "overhead": "has no effect: there is one OCI runtime, without overhead",
    "runtimeClassName": "has no effect: all pods run under the OCI runtime of this machine",
    "containers[].resizePolicy": "has no effect: a changed limit always makes a new container",
    "containers[].securityContext.windowsOptions": "has no effect: this is not Windows",
    "securityContext.windowsOptions": "has no effect: this is not Windows",
    "securityContext.fsGroupChangePolicy": "has no effect without fsGroup being carried out",
    "securityContext.seLinuxChangePolicy": "has no effect: SELinux labels are not used",
}
"""By path in a PodSpec."""


class _Told(NamedTuple):
    message: str
    severity: Severity


class _Node(NamedTuple):
    """A field on the way to, or at, an entry of a table."""

    attribute: str
    alias: str
    default: Any
    many: bool
    told: _Told | None
    below: tuple[_Node, ...]


def check_effects(obj: Object, report: Report) -> None:
    """Tell of every declared field that is in a table. Adds no errors."""
    match obj:
        case Pod():
            _tell(obj.spec, _pod_tree(), ("spec",), report, set())
        case Deployment() | ReplicaSet():
            _tell(obj, _workload_tree(type(obj)), (), report, set())
            _tell(obj.spec.template.spec, _pod_tree(), ("spec", "template", "spec"), report, set())
        case _:
            pass


@lru_cache(maxsize=1)
def _pod_tree() -> tuple[_Node, ...]:
    told = {path: _Told(text, Severity.WARNING) for path, text in POD_NOT_YET.items()}
    told |= {path: _Told(text, Severity.NOTE) for path, text in POD_NO_EFFECT.items()}
    return _tree(PodSpec, told)


@lru_cache(maxsize=2)
def _workload_tree(kind: type[Deployment] | type[ReplicaSet]) -> tuple[_Node, ...]:
    return _tree(kind, {path: _Told(text, Severity.WARNING) for path, text in WORKLOAD_NOT_YET.items()})


def _tree(model: type[Declared], told: Mapping[str, _Told]) -> tuple[_Node, ...]:
    nodes = []
    for attribute, field in model.model_fields.items():
        alias = field.alias or attribute
        here = next((told[path] for path in (alias, f"{alias}[]") if path in told), None)
        many = any(path.startswith(f"{alias}[].") for path in told)
        inside = f"{alias}[]." if many else f"{alias}."
        deeper = {path.removeprefix(inside): each for path, each in told.items() if path.startswith(inside)}
        within = model_within(field.annotation)
        below = _tree(within, deeper) if deeper and within is not None else ()
        if here is not None or below:
            nodes.append(_Node(attribute, alias, field.get_default(call_default_factory=True), many, here, below))
    return tuple(nodes)


def _tell(model: Declared, nodes: tuple[_Node, ...], at: Location, report: Report, done: set[int]) -> None:
    """`done` holds the ids of the nodes that were told already: nodes live as long as their tree."""
    for node in nodes:
        value = getattr(model, node.attribute)
        if value is None or value == node.default or value == ():
            continue
        here = (*at, node.alias)
        if node.told is not None and id(node) not in done:
            done.add(id(node))
            report.findings.append(Finding(here, node.told.message, node.told.severity))
        if not node.below:
            continue
        if node.many:
            for index, item in enumerate(value):
                _tell(item, node.below, (*here, index), report, done)
        else:
            _tell(value, node.below, here, report, done)
