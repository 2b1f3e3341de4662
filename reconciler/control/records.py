"""What the store holds: objects with the status we give them, and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from reconciler.model.kinds import Object
from reconciler.model.meta import to_json
from reconciler.model.ref import Ref

_API_VERSIONS = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1"}


def timestamp(at: float) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes times."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def api_version(kind: str) -> str:
    return _API_VERSIONS.get(kind, "v1")


@dataclass(frozen=True, slots=True)
class Record:
    """An object as it is declared, and how it is. Immutable: a change is a new record."""

    ref: Ref
    object: Object
    uid: str
    created_at: float
    owner: Ref | None = None  # the workload that made it; None when it is from a manifest
    file: str = ""  # "" when it is not from a manifest
    line: int = 0
    generation: int = 1
    resource_version: int = 0
    deleted_at: float | None = None
    node: str = ""  # where it runs; "" for what does not run
    status: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> dict[str, Any]:
        """The whole object, as the Kubernetes API would give it."""
        out = to_json(self.object)
        metadata = out.setdefault("metadata", {})
        metadata["uid"] = self.uid
        metadata["creationTimestamp"] = timestamp(self.created_at)
        metadata["generation"] = self.generation
        metadata["resourceVersion"] = str(self.resource_version)
        if self.deleted_at is not None:
            metadata["deletionTimestamp"] = timestamp(self.deleted_at)
        if self.node:
            out.setdefault("spec", {})["nodeName"] = self.node
        if self.status:
            out["status"] = dict(self.status)
        return out


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened to an object; repeats are counted, not added."""

    ref: Ref  # kind Event
    about: Ref
    about_uid: str
    type: str  # Normal | Warning
    reason: str
    message: str
    first_at: float
    last_at: float
    count: int = 1
    resource_version: int = 0
    deleted_at: None = None

    def to_json(self) -> dict[str, Any]:
        """A core/v1 Event."""
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": self.ref.name,
                "namespace": self.ref.namespace,
                "creationTimestamp": timestamp(self.first_at),
                "resourceVersion": str(self.resource_version),
            },
            "involvedObject": {
                "apiVersion": api_version(self.about.kind),
                "kind": self.about.kind,
                "namespace": self.about.namespace,
                "name": self.about.name,
                "uid": self.about_uid,
            },
            "type": self.type,
            "reason": self.reason,
            "message": self.message,
            "count": self.count,
            "firstTimestamp": timestamp(self.first_at),
            "lastTimestamp": timestamp(self.last_at),
            "source": {"component": "reconciler"},
            "reportingComponent": "reconciler",
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the store. `record` is the last state of what was deleted; `previous` what was before,
    so that a watch by labels can tell when an object begins or ceases to be one of those it shows."""

    type: str  # ADDED | MODIFIED | DELETED
    record: Record | EventRecord
    previous: Record | EventRecord | None = None
