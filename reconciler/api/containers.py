"""Containers as rows, for `ps`: what runs, whose it is, and how it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.model.kinds import Object, Pod
from reconciler.model.observed import Observed, SeenContainer, SeenPod
from reconciler.model.ref import Ref


def container_rows(observed: Observed, pods: Mapping[Ref, Object]) -> list[dict[str, Any]]:
    """One row for each container of this instance, dead ones too, by namespace, pod, name and attempt.

    A row: id, sandboxId, namespace, pod, name, image, imageId, state, attempt, createdAt, addresses and
    ports ([{containerPort, hostPort, protocol, hostIP?}], as declared in `pods`); and where they have a
    value pid, startedAt, finishedAt, exitCode, oomKilled, fault. Times are RFC 3339 with microseconds.
    """
    return [
        _row(seen, container, _published(pods.get(seen.ref), container.name))
        for _, seen in sorted(observed.pods.items())
        for container in sorted(seen.containers, key=lambda c: (c.name, c.attempt))
    ]


def _row(seen: SeenPod, container: SeenContainer, ports: list[dict[str, Any]]) -> dict[str, Any]:
    sandbox = seen.sandbox
    row = {
        "id": container.id,
        "sandboxId": container.sandbox_id,
        "namespace": seen.ref.namespace,
        "pod": seen.ref.name,
        "name": container.name,
        "image": container.image,
        "imageId": container.image_id,
        "state": str(container.state),
        "attempt": container.attempt,
        "createdAt": precise_time(container.created_at),
        "addresses": list(sandbox.addresses) if sandbox and sandbox.id == container.sandbox_id else [],
        "ports": ports,
    }
    optional = {
        "pid": container.pid,
        "startedAt": precise_time(container.started_at),
        "finishedAt": precise_time(container.finished_at),
        "exitCode": container.exit_code,
        "oomKilled": container.oom_killed or None,
        "fault": container.fault or (sandbox.fault if sandbox else "") or None,
    }
    return row | {name: value for name, value in optional.items() if value is not None}


def _published(pod: Object | None, container: str) -> list[dict[str, Any]]:
    """The declared ports of a container that are reachable on the host."""
    if not isinstance(pod, Pod):
        return []
    return [
        {"containerPort": port.container_port, "hostPort": port.host_port, "protocol": port.protocol}
        | ({"hostIP": port.host_ip} if port.host_ip else {})
        for declared in pod.spec.containers
        if declared.name == container
        for port in declared.ports or ()
        if port.host_port
    ]


def precise_time(at: float | None) -> str | None:
    """RFC 3339 in UTC with microseconds, from seconds since the epoch; None for none."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
