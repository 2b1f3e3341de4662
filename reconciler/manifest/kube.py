"""A parsed document to Kubernetes objects, complete with the defaults of the API server.

One document is one object, or a List of them. What is wrong becomes Problems, all at once:
values that do not decode are set aside, and the rest is still held against the rules of admission.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from reconciler.manifest import admit
from reconciler.manifest.builtin import unsupported
from reconciler.manifest.explain import explain, meant_place
from reconciler.manifest.problems import Problem, Scope, Severity, errors
from reconciler.manifest.yamldoc import Document, line_of
from reconciler.manifest.yamltree import Location, path_text
from reconciler.model.kinds import KINDS, Object, Pod, Secret

_MOST_NESTED_LISTS = 8
_MOST_ERRORS = 50
_SERVER_SIDE = {
    "uid": "", "resource_version": "", "generation": 0, "self_link": "", "managed_fields": (),
    "creation_timestamp": None, "deletion_timestamp": None, "deletion_grace_period_seconds": None,
}  # fmt: skip
"""What a server writes into metadata: in a manifest it is left over from `kubectl get -o yaml`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An admitted object and where it is declared. `lines` is as in `yamldoc.Document`, relative to the object."""

    object: Object
    file: str
    line: int
    lines: Mapping[Location, int]


def read_document(document: Document) -> tuple[list[Entry], list[Problem]]:
    """The objects of a document, and all that is wrong with it. An object with an error is not among them."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for item in _flatten(document, problems, 0):
        found: list[Problem] = []
        obj = _read_object(item, found)
        if obj is not None and not errors(found):
            entries.append(Entry(obj, item.file, item.line, item.lines))
        problems += sorted(found, key=lambda problem: problem.line)
    return entries, problems


def _problem(
    document: Document,
    location: Location,
    message: str,
    severity: Severity = Severity.ERROR,
    scope: Scope = "file",
) -> Problem:
    return Problem(document.file, line_of(document, location), path_text(location), message, severity, scope)


def _flatten(document: Document, problems: list[Problem], depth: int) -> Iterator[Document]:
    """The document itself, or the items of a List, each with its own lines."""
    value = document.value
    if value is None:
        return
    if not isinstance(value, dict):
        problems.append(_problem(document, (), "a manifest is a mapping with apiVersion, kind and metadata"))
        return
    if not _is_list(value):
        yield document
        return
    items = value.get("items") or []
    if not isinstance(items, list) or depth >= _MOST_NESTED_LISTS:
        what = "Lists are nested too deeply" if isinstance(items, list) else "the items of a List are a list of objects"
        problems.append(_problem(document, ("items",), what))
        return
    for index, item in enumerate(items):
        place: Location = ("items", index)
        below = Document(item, document.file, line_of(document, place), _Below(document.lines, place))
        yield from _flatten(below, problems, depth + 1)


class _Below(Mapping[Location, int]):
    """The lines of a part of a document, without a copy for every item of a long List."""

    def __init__(self, lines: Mapping[Location, int], place: Location) -> None:
        self._lines, self._place = lines, place

    def __getitem__(self, location: Location) -> int:
        return self._lines[(*self._place, *location)]

    def __iter__(self) -> Iterator[Location]:
        depth = len(self._place)
        return (location[depth:] for location in self._lines if location[:depth] == self._place)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_list(value: Mapping[str, Any]) -> bool:
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List"):
        return False
    return (version, kind) == ("v1", "List") or ("items" in value and (version, kind[:-4]) in KINDS)


def _read_object(document: Document, problems: list[Problem]) -> Object | None:
    value = document.value
    version, kind = value.get("apiVersion"), value.get("kind")
    for name, text in (("apiVersion", version), ("kind", kind)):
        if not isinstance(text, str) or not text:
            problems.append(_problem(document, (name,), _no_type(name, text)))
    if not (isinstance(version, str) and version and isinstance(kind, str) and kind):
        return None
    model = KINDS.get((version, kind))
    if model is None:
        message, scope = unsupported(version, kind)
        problems.append(_problem(document, ("kind",), message, scope=scope))
        return None
    declared = {key: part for key, part in value.items() if key != "status"}
    obj, set_aside = _decode(model, declared, document, problems)
    if obj is None:
        return None
    obj = _complete(obj)
    for finding in admit.admit(obj):
        if not any(finding.location[: len(place)] == place for place in set_aside):
            problems.append(_problem(document, finding.location, finding.message, finding.severity))
    return obj


def _no_type(name: str, found: object) -> str:
    example = "v1 or apps/v1" if name == "apiVersion" else "Pod or Deployment"
    return (
        f"required: it says what this object is, such as {example}"
        if not found
        else f"text is expected, such as {example}"
    )


def _decode(
    model: type[Object], declared: dict[str, Any], document: Document, problems: list[Problem]
) -> tuple[Object | None, list[Location]]:
    """The object, and the places of which nothing more is to be said: of values that did not decode
    and were left out of it, and where misplaced or misspelt fields were meant to be."""
    set_aside: list[Location] = []
    missing: list[Location] = []
    for _ in range(3):
        try:
            return model.model_validate(declared, by_name=False), set_aside + missing
        except ValidationError as failure:
            for number, error in enumerate(failure.errors(include_url=False)):
                location = error["loc"]
                if number == _MOST_ERRORS:
                    more = failure.error_count() - number
                    problems.append(_problem(document, (), f"{more} more faults of this object are not shown"))
                    return None, []
                if location in set_aside:
                    return None, []
                secret = model is Secret or location[-1:] == ("value",)
                problems.append(_problem(document, location, explain(error, model, location, secret=secret)))
                set_aside.append(location)
                if error["type"] == "extra_forbidden" and (meant := meant_place(model, location)):
                    missing.append(meant)
        declared = _without(declared, set_aside)
    return None, []


def _without(value: Any, places: list[Location]) -> Any:
    """A copy with nothing at `places`."""
    if () in places:
        return None
    below: dict[str | int, list[Location]] = {}
    for place in places:
        below.setdefault(place[0], []).append(place[1:])
    if isinstance(value, dict):
        kept = {key: _without(part, below[key]) if key in below else part for key, part in value.items()}
        return {key: part for key, part in kept.items() if not (part is None and key in below)}
    if isinstance(value, list):
        return [_without(part, below[index]) if index in below else part for index, part in enumerate(value)]
    return value


def _complete(obj: Object) -> Object:
    """What the server does to an object when it creates it: its name, its namespace, its last defaults."""
    metadata = obj.metadata
    changes: dict[str, Any] = {key: zero for key, zero in _SERVER_SIDE.items() if getattr(metadata, key) != zero}
    namespace = "" if obj.kind == "Namespace" else metadata.namespace or "default"
    if namespace != metadata.namespace:
        changes["namespace"] = namespace
    if metadata.generate_name and not metadata.name:
        changes["name"] = metadata.generate_name + _suffix(obj)
    updates: dict[str, Any] = {"metadata": metadata.model_copy(update=changes)} if changes else {}
    if isinstance(obj, Pod):
        updates["spec"] = obj.spec.as_pod()
    if isinstance(obj, Secret):
        obj = obj.folded()
    return obj.model_copy(update=updates) if updates else obj


def _suffix(obj: Object) -> str:
    """What a generated name ends in: of the object's content, so that the same file gives the same name."""
    content = json.dumps(obj.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:5]
