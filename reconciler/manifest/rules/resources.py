"""Rules of requests and limits."""

from __future__ import annotations

from collections.abc import Set

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.report import Report
from reconciler.manifest.yamltree import Location
from reconciler.model import quantity
from reconciler.model.container import ResourceRequirements

_NATIVE = frozenset({"cpu", "memory", "ephemeral-storage"})


def check_resources(resources: ResourceRequirements, at: Location, report: Report, *, claims: Set[str]) -> None:
    """`claims` are the names of the pod's resourceClaims."""
    for name, limit in resources.limits.items():
        here = (*at, "limits", name)
        _check_amount(name, limit, here, report)
    for name, request in resources.requests.items():
        here = (*at, "requests", name)
        most = resources.limits.get(name)
        if most == request:
            continue  # where it is wrong, it was told at the limit, of which it often is only a copy
        _check_amount(name, request, here, report)
        if most is None:
            if not _overcommits(name):
                report.required((*at, "limits", name), f"{name} cannot be shared, so its request needs an equal limit")
        elif not _overcommits(name) and quantity.compare(request, most):
            report.refuse(here, request, f"must equal the limit, {most}: {name} cannot be shared")
        elif quantity.compare(request, most) > 0:
            report.refuse(here, request, f"must not be more than the limit, {most}")
    names = resources.limits.keys() | resources.requests.keys()
    if any(name.startswith("hugepages-") for name in names) and not {"cpu", "memory"} & names:
        report.error(at, "hugepages need a cpu or memory request beside them")
    seen: set[tuple[str, str]] = set()
    for index, claim in enumerate(resources.claims):
        here = (*at, "claims", index)
        if not claim.name:
            report.required((*here, "name"), "the name of one of the pod's resourceClaims")
        elif claim.name not in claims:
            report.refuse((*here, "name"), claim.name, "is not among the pod's resourceClaims")
        if (claim.name, claim.request) in seen:
            report.refuse((*here, "name"), claim.name, "is named twice")
        seen.add((claim.name, claim.request))


def _check_amount(name: str, amount: str, at: Location, report: Report) -> None:
    check_resource_name(name, at, report)
    if quantity.compare(amount, "0") < 0:
        report.refuse(at, amount, "must not be negative")
    elif not (name in _NATIVE or name.startswith("hugepages-")) and "m" in amount:
        report.refuse(at, amount, "must be a whole number: this resource has no parts")


def check_resource_name(name: str, at: Location, report: Report) -> None:
    if name in _NATIVE or name.startswith("hugepages-"):
        return
    if fault := formats.qualified(name):
        report.refuse(at, name, fault)
    elif "/" not in name:
        report.refuse(
            at, name, "is no resource: use cpu, memory, ephemeral-storage, hugepages-SIZE or example.com/NAME"
        )


def _overcommits(name: str) -> bool:
    """Whether more can be promised than there is: not for hugepages and devices."""
    return name in _NATIVE or ("kubernetes.io/" in name and not name.startswith("requests."))
