"""Objects as rows: meta.k8s.io/v1 Tables with the columns that kubectl prints.

kubectl prints what the server's Table says, so this is what `kubectl get` and
`reconciler get` show. Pure: `now` is an argument, in seconds since the epoch.
Source: kubernetes pkg/printers/internalversion and apimachinery duration.HumanDuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from reconciler.api.podtext import pod_cells

TABLE_TYPE = "application/json;as=Table;v=v1;g=meta.k8s.io"
Json = Mapping[str, Any]
Cells = Callable[[Json, float], Sequence[Any]]


class Column(NamedTuple):
    """One column. Those of a `priority` above 0 are shown with -o wide only."""

    name: str
    description: str
    priority: int = 0
    type: str = "string"
    format: str = ""


def render_table(
    kind: str, items: Iterable[Json], *, now: float, list_metadata: Json, include: str = "Metadata", head: bool = True
) -> dict[str, Any]:
    """Make a Table of objects of one kind.

    `include` is None, Metadata or Object: what each row carries of its object. Without
    `head` the column definitions are left out, as in all but the first event of a watch.
    """
    columns, cells = _LAYOUTS[kind]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(list_metadata),
        "columnDefinitions": [column._asdict() for column in columns] if head else None,
        "rows": [{"cells": list(cells(item, now)), "object": _row_object(item, include)} for item in items],
    }


def _row_object(item: Json, include: str) -> Json | None:
    match include:
        case "None":
            return None
        case "Object":
            return item
        case _:
            return {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": item["metadata"],
            }


def age(since: str | None, now: float) -> str:
    """The time from an RFC 3339 moment to `now`, as `kubectl get` shows it: 12s, 4m5s, 3h, 8d."""
    if not since:
        return "<unknown>"
    return human_duration(now - datetime.fromisoformat(since).timestamp())


def human_duration(seconds: float) -> str:
    """A length of time in two or three significant digits."""
    if seconds < -1:
        return "<invalid>"
    total = max(0, int(seconds))
    minutes, hours, days, years = total // 60, total // 3600, total // 86400, total // (86400 * 365)
    for below, whole, unit, rest, rest_unit in (
        (120, total, "s", 0, ""),
        (600, minutes, "m", total % 60, "s"),
        (10800, minutes, "m", 0, ""),
        (28800, hours, "h", minutes % 60, "m"),
        (172800, hours, "h", 0, ""),
        (691200, days, "d", hours % 24, "h"),
        (86400 * 365 * 2, days, "d", 0, ""),
        (86400 * 365 * 8, years, "y", days % 365, "d"),
    ):
        if total < below:
            return f"{whole}{unit}{rest}{rest_unit}" if rest else f"{whole}{unit}"
    return f"{years}y"


def _created(item: Json, now: float) -> str:
    return age(item["metadata"].get("creationTimestamp"), now)


def _pod(item: Json, now: float) -> Sequence[Any]:
    cells = pod_cells(item)
    restarts = f"{cells.restarts} ({age(cells.restarted_at, now)} ago)" if cells.restarted_at else str(cells.restarts)
    return (
        item["metadata"]["name"],
        f"{cells.ready}/{cells.containers}",
        cells.status,
        restarts,
        _created(item, now),
        cells.address or "<none>",
        item["spec"].get("nodeName") or "<none>",
        "<none>",
        cells.readiness_gates,
    )


def _deployment(item: Json, now: float) -> Sequence[Any]:
    status = item.get("status", {})
    return (
        item["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{item['spec'].get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _created(item, now),
        *_template(item),
    )


def _replica_set(item: Json, now: float) -> Sequence[Any]:
    status = item.get("status", {})
    return (
        item["metadata"]["name"],
        item["spec"].get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _created(item, now),
        *_template(item),
    )


def _template(item: Json) -> tuple[str, str, str]:
    containers = item["spec"]["template"]["spec"]["containers"]
    return (
        ",".join(container["name"] for container in containers),
        ",".join(container.get("image", "") for container in containers),
        render_selector(item["spec"].get("selector") or {}),
    )


def render_selector(selector: Json) -> str:
    """A LabelSelector in the one-line form that -l takes."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in sorted(selector.get("matchExpressions") or (), key=lambda term: str(term["key"])):
        values = ",".join(sorted(term.get("values") or ()))
        match term["operator"]:
            case "Exists":
                terms.append(term["key"])
            case "DoesNotExist":
                terms.append(f"!{term['key']}")
            case operator:
                terms.append(f"{term['key']} {operator.lower()} ({values})")
    return ",".join(terms) or "<none>"


def _config_map(item: Json, now: float) -> Sequence[Any]:
    count = len(item.get("data") or ()) + len(item.get("binaryData") or ())
    return item["metadata"]["name"], count, _created(item, now)


def _secret(item: Json, now: float) -> Sequence[Any]:
    return item["metadata"]["name"], item.get("type", "Opaque"), len(item.get("data") or ()), _created(item, now)


def _namespace(item: Json, now: float) -> Sequence[Any]:
    return item["metadata"]["name"], item.get("status", {}).get("phase", "Active"), _created(item, now)


def _event(item: Json, now: float) -> Sequence[Any]:
    about = item["involvedObject"]
    source = ", ".join(part for part in (item["source"].get("component"), item["source"].get("host")) if part)
    first, last, count = item.get("firstTimestamp"), item.get("lastTimestamp"), item.get("count", 1)
    return (
        age(last or item.get("eventTime"), now),
        item["type"],
        item["reason"],
        f"{about['kind'].lower()}/{about['name']}",
        about.get("fieldPath", ""),
        source,
        item["message"].strip(),
        age(first or item.get("eventTime"), now),
        count,
        item["metadata"]["name"],
    )


_NAME = Column("Name", "Unique in its namespace.", format="name")
_AGE = Column("Age", "Time since it was created.")
_TEMPLATE = (
    Column("Containers", "Names of the containers in the template.", 1),
    Column("Images", "Images of the containers in the template.", 1),
    Column("Selector", "Which pods belong to it.", 1),
)
_LAYOUTS: Mapping[str, tuple[tuple[Column, ...], Cells]] = {
    "Pod": (
        (
            _NAME,
            Column("Ready", "Containers that are ready, of all."),
            Column("Status", "Phase of the pod, or what keeps it from running."),
            Column("Restarts", "Restarts of all containers, and when the latest was."),
            _AGE,
            Column("IP", "Address of the pod.", 1),
            Column("Node", "Machine it runs on.", 1),
            Column("Nominated Node", "Unused on one machine.", 1),
            Column("Readiness Gates", "Gates that are open, of all.", 1),
        ),
        _pod,
    ),
    "Deployment": (
        (
            _NAME,
            Column("Ready", "Pods that are ready, of those wanted."),
            Column("Up-to-date", "Pods made from the current template.", type="integer"),
            Column("Available", "Pods ready for at least minReadySeconds.", type="integer"),
            _AGE,
            *_TEMPLATE,
        ),
        _deployment,
    ),
    "ReplicaSet": (
        (
            _NAME,
            Column("Desired", "Pods wanted.", type="integer"),
            Column("Current", "Pods there are.", type="integer"),
            Column("Ready", "Pods that are ready.", type="integer"),
            _AGE,
            *_TEMPLATE,
        ),
        _replica_set,
    ),
    "ConfigMap": ((_NAME, Column("Data", "How many keys.", type="integer"), _AGE), _config_map),
    "Secret": (
        (_NAME, Column("Type", "What it is for."), Column("Data", "How many keys.", type="integer"), _AGE),
        _secret,
    ),
    "Namespace": ((_NAME, Column("Status", "Active or Terminating."), _AGE), _namespace),
    "Event": (
        (
            Column("Last Seen", "Time since it happened last."),
            Column("Type", "Normal or Warning."),
            Column("Reason", "What happened, in one word."),
            Column("Object", "What it happened to."),
            Column("Subobject", "The part of it, as a field path.", 1),
            Column("Source", "Who reported it.", 1),
            Column("Message", "What happened, in a sentence."),
            Column("First Seen", "Time since it happened first.", 1),
            Column("Count", "How often it happened.", 1, type="integer"),
            Column("Name", "Name of the event.", 1, format="name"),
        ),
        _event,
    ),
}
