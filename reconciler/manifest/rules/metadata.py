"""Rules of metadata, labels and selectors, the same for every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.report import Report
from reconciler.manifest.yamltree import Location
from reconciler.model.meta import LabelSelector, ObjectMeta

_MOST_ANNOTATION_BYTES = 256 * 1024
_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def check_metadata(
    meta: ObjectMeta, at: Location, report: Report, *, name: Callable[[str], str] = formats.subdomain
) -> None:
    """`name` is the format of the kind's names."""
    if meta.generate_name:
        report.check((*at, "generateName"), meta.generate_name, name(meta.generate_name.rstrip("-") or "-"))
    if not meta.name:
        if not meta.generate_name:
            report.required((*at, "name"), "every object has a name")
    else:
        report.check((*at, "name"), meta.name, name(meta.name))
    if meta.namespace:
        report.check((*at, "namespace"), meta.namespace, formats.label(meta.namespace))
    check_template_metadata(meta, at, report)
    for index, finalizer in enumerate(meta.finalizers):
        here = (*at, "finalizers", index)
        report.check(here, finalizer, formats.qualified(finalizer))
        if "/" not in finalizer and finalizer not in _FINALIZERS:
            report.refuse(here, finalizer, "is no finalizer: it must be of the form example.com/name")
    controllers = 0
    for index, owner in enumerate(meta.owner_references):
        for field in ("api_version", "kind", "name", "uid"):
            if not getattr(owner, field):
                alias = "apiVersion" if field == "api_version" else field
                report.required((*at, "ownerReferences", index, alias), "an owner is named in full")
        controllers += owner.controller is True
    if controllers > 1:
        report.error((*at, "ownerReferences"), "only one owner can be the controller")


def check_template_metadata(meta: ObjectMeta, at: Location, report: Report) -> None:
    """What holds for a template too: it needs no name."""
    check_labels(meta.labels, (*at, "labels"), report)
    size = 0
    for key, value in meta.annotations.items():
        report.check((*at, "annotations", key), key, formats.qualified(key.lower()))
        size += len(key) + len(value)
    if size > _MOST_ANNOTATION_BYTES // 4 and _bytes(meta.annotations) > _MOST_ANNOTATION_BYTES:
        report.error(
            (*at, "annotations"), f"too long: all annotations together have at most {_MOST_ANNOTATION_BYTES} bytes"
        )


def _bytes(texts: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in texts.items())


def check_labels(labels: Mapping[str, str], at: Location, report: Report) -> None:
    for key, value in labels.items():
        report.check((*at, key), key, formats.qualified(key))
        report.check((*at, key), value, formats.label_value(value))


def check_selector(selector: LabelSelector, at: Location, report: Report) -> None:
    check_labels(selector.match_labels, (*at, "matchLabels"), report)
    for index, requirement in enumerate(selector.match_expressions):
        here = (*at, "matchExpressions", index)
        report.check((*here, "key"), requirement.key, formats.qualified(requirement.key))
        if requirement.operator is None:
            report.required((*here, "operator"), "one of In, NotIn, Exists, DoesNotExist")
        elif requirement.operator in ("In", "NotIn"):
            if not requirement.values:
                report.required((*here, "values"), f"{requirement.operator} compares with at least one value")
        elif requirement.values:
            report.error((*here, "values"), f"must be left out: {requirement.operator} looks at the key only")
        for position, value in enumerate(requirement.values):
            report.check((*here, "values", position), value, formats.label_value(value))
