"""What would change if some manifests were applied: by field, and as plans. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.control.records import Record
from reconciler.manifest.reader import Reading
from reconciler.model.kinds import Secret
from reconciler.model.meta import Declared, to_json
from reconciler.model.ref import Ref
from reconciler.plan.steps import Plan

_HIDDEN = "(hidden)"


def changes(declared: Iterable[Record], reading: Reading, *, prune: bool) -> list[dict[str, Any]]:
    """The objects that differ, by name: `{change: create|update|remove, object, file, line, fields}`.

    `declared` are the objects that come from manifests now; with `prune`, those that `reading` does not have
    would be removed. The values of Secrets are not shown.
    """
    before = {record.ref: record for record in declared}
    out = []
    for ref, entry in sorted(reading.objects.items()):
        old = before.get(ref)
        fields = list(_fields(old.object if old else None, entry.object)) if old else []
        if old is None or fields:
            kind = "update" if old else "create"
            out.append({"change": kind, "object": str(ref), "file": entry.file, "line": entry.line, "fields": fields})
    for ref, record in sorted(before.items()):
        if prune and ref not in reading.objects:
            gone = {"change": "remove", "object": str(ref), "file": record.file, "line": record.line, "fields": []}
            out.append(gone)
    return out


def render_plans(plans: Iterable[tuple[Ref, Plan]]) -> str:
    """Plans as text, a paragraph for each pod."""
    return "\n".join(f"{ref}\n{plan}" for ref, plan in plans)


def _fields(old: Declared | None, new: Declared) -> Iterator[dict[str, Any]]:
    a, b = (dict(_flat("", to_json(obj))) if obj is not None else {} for obj in (old, new))
    for path in sorted(a.keys() | b.keys()):
        if a.get(path) != b.get(path):
            secret = isinstance(new, Secret) and path.split(".")[0].split("[")[0] in ("data", "stringData")
            shown = {
                side: _HIDDEN if secret and path in flat else flat.get(path) for side, flat in (("from", a), ("to", b))
            }
            yield {"path": path, **shown}


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(f"{path}[{index}]", item)
    else:
        yield path, value
