"""Workloads to what they own: a Deployment to its ReplicaSet, a ReplicaSet to its pods.

Names are derived (docs/adr/0001), so the same declaration gives the same pods after any restart,
also when all state was lost, and a running container finds its owner again.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.kinds import Deployment, Object, Pod, ReplicaSet
from reconciler.model.meta import KubeObject, ObjectMeta, OwnerReference
from reconciler.model.workload import ReplicaSetSpec
from reconciler.plan.hashing import generated_name, template_hash

_HASH_LABEL = "pod-template-hash"


def expand(owner: Object, owner_uid: str) -> tuple[Object, ...]:
    """The objects that `owner` makes, in the order of their ordinals; () for kinds that make none."""
    match owner:
        case Deployment():
            return (_replica_set(owner, owner_uid),)
        case ReplicaSet():
            return _pods(owner, owner_uid)
        case _:
            return ()


def _replica_set(deployment: Deployment, uid: str) -> ReplicaSet:
    spec = deployment.spec
    template = spec.template
    revision = template_hash(template.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    assert spec.selector is not None, "admission refuses a Deployment without a selector"
    label = {_HASH_LABEL: revision}
    labels = {**template.metadata.labels, **label}
    selector = spec.selector.model_copy(update={"match_labels": {**spec.selector.match_labels, **label}})
    return ReplicaSet(
        api_version="apps/v1",
        kind="ReplicaSet",
        metadata=_metadata(deployment, uid, f"{deployment.metadata.name}-{revision}", labels),
        spec=ReplicaSetSpec(
            replicas=spec.replicas,
            min_ready_seconds=spec.min_ready_seconds,
            selector=selector,
            template=template.model_copy(update={"metadata": template.metadata.model_copy(update={"labels": labels})}),
        ),
    )


def _pods(replica_set: ReplicaSet, uid: str) -> tuple[Pod, ...]:
    template = replica_set.spec.template
    spec = template.spec.as_pod()
    return tuple(
        Pod.model_construct(
            api_version="v1",
            kind="Pod",
            metadata=_metadata(
                replica_set,
                uid,
                name,
                template.metadata.labels,
                template.metadata.annotations,
            ),
            spec=spec,
        )
        for name in _names(replica_set.metadata.name or "", replica_set.spec.replicas or 0)
    )


def _names(base: str, count: int) -> tuple[str, ...]:
    """A name for each ordinal. Suffixes are short: of a thousand, two are the same once in thirty times,
    and the later one then takes its next."""
    names: dict[str, None] = {}
    for ordinal in range(count):
        key = str(ordinal)
        while (name := generated_name(base, key)) in names:
            key += "'"
        names[name] = None
    return tuple(names)


def _metadata(
    owner: KubeObject, uid: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> ObjectMeta:
    reference = OwnerReference.model_construct(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=uid,
        controller=True,
        block_owner_deletion=True,
    )
    return ObjectMeta.model_construct(
        name=name,
        namespace=owner.metadata.namespace,
        labels=dict(labels),
        annotations=dict(annotations or {}),
        owner_references=(reference,),
    )
