"""Rules of affinity, tolerations and topology spread: checked as in a cluster, where the same files may go."""

from __future__ import annotations

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.metadata import check_selector
from reconciler.manifest.rules.report import Report
from reconciler.manifest.yamltree import Location
from reconciler.model.pod import PodSpec
from reconciler.model.scheduling import (
    NodeAffinity,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    Toleration,
    TopologySpreadConstraint,
)

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def check_scheduling(spec: PodSpec, at: Location, report: Report) -> None:
    affinity = spec.affinity
    if affinity is not None:
        if affinity.node_affinity is not None:
            _check_node_affinity(affinity.node_affinity, (*at, "affinity", "nodeAffinity"), report)
        for field, pods in (("podAffinity", affinity.pod_affinity), ("podAntiAffinity", affinity.pod_anti_affinity)):
            if pods is not None:
                _check_pod_affinity(pods, (*at, "affinity", field), report)
    for index, toleration in enumerate(spec.tolerations):
        _check_toleration(toleration, (*at, "tolerations", index), report)
    seen: set[tuple[str, str | None]] = set()
    for index, constraint in enumerate(spec.topology_spread_constraints):
        here = (*at, "topologySpreadConstraints", index)
        _check_spread(constraint, here, report)
        pair = (constraint.topology_key, constraint.when_unsatisfiable)
        if pair in seen:
            report.error(here, "has the topologyKey and whenUnsatisfiable of another constraint")
        seen.add(pair)
    names: set[str] = set()
    for index, gate in enumerate(spec.scheduling_gates):
        report.check((*at, "schedulingGates", index, "name"), gate.name, formats.qualified(gate.name))
        if gate.name in names:
            report.refuse((*at, "schedulingGates", index, "name"), gate.name, "is named twice")
        names.add(gate.name)


def _check_node_affinity(affinity: NodeAffinity, at: Location, report: Report) -> None:
    required = affinity.required_during_scheduling_ignored_during_execution
    if required is not None:
        here = (*at, _REQUIRED, "nodeSelectorTerms")
        if not required.node_selector_terms:
            report.required(here, "at least one term")
        for index, term in enumerate(required.node_selector_terms):
            _check_term(term, (*here, index), report)
    for index, preferred in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        here = (*at, _PREFERRED, index)
        report.between((*here, "weight"), preferred.weight, 1, 100)
        _check_term(preferred.preference, (*here, "preference"), report)


def _check_term(term: NodeSelectorTerm, at: Location, report: Report) -> None:
    for index, requirement in enumerate(term.match_expressions):
        here = (*at, "matchExpressions", index)
        report.check((*here, "key"), requirement.key, formats.qualified(requirement.key))
        match requirement.operator:
            case None:
                report.required((*here, "operator"), "one of In, NotIn, Exists, DoesNotExist, Gt, Lt")
            case "In" | "NotIn":
                if not requirement.values:
                    report.required((*here, "values"), f"{requirement.operator} compares with at least one value")
                for position, value in enumerate(requirement.values):
                    report.check((*here, "values", position), value, formats.label_value(value))
            case "Exists" | "DoesNotExist":
                if requirement.values:
                    report.error((*here, "values"), f"must be left out: {requirement.operator} looks at the key only")
            case "Gt" | "Lt":
                if len(requirement.values) != 1:
                    report.error((*here, "values"), f"{requirement.operator} compares with exactly one number")
    for index, requirement in enumerate(term.match_fields):
        here = (*at, "matchFields", index)
        if requirement.key != "metadata.name":
            report.refuse((*here, "key"), requirement.key, "is not metadata.name, the only field there is")
        if requirement.operator not in ("In", "NotIn"):
            report.refuse((*here, "operator"), requirement.operator or "", "must be In or NotIn")
        elif len(requirement.values) != 1:
            report.error((*here, "values"), "exactly one value is needed")


def _check_pod_affinity(affinity: PodAffinity, at: Location, report: Report) -> None:
    for index, term in enumerate(affinity.required_during_scheduling_ignored_during_execution):
        _check_pod_term(term, (*at, _REQUIRED, index), report)
    for index, preferred in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        here = (*at, _PREFERRED, index)
        report.between((*here, "weight"), preferred.weight, 1, 100)
        _check_pod_term(preferred.pod_affinity_term, (*here, "podAffinityTerm"), report)


def _check_pod_term(term: PodAffinityTerm, at: Location, report: Report) -> None:
    if not term.topology_key:
        report.required((*at, "topologyKey"), "a node label, such as kubernetes.io/hostname")
    else:
        report.check((*at, "topologyKey"), term.topology_key, formats.qualified(term.topology_key))
    for field, selector in (("labelSelector", term.label_selector), ("namespaceSelector", term.namespace_selector)):
        if selector is not None:
            check_selector(selector, (*at, field), report)
    for index, namespace in enumerate(term.namespaces):
        report.check((*at, "namespaces", index), namespace, formats.label(namespace))


def _check_toleration(toleration: Toleration, at: Location, report: Report) -> None:
    if toleration.key:
        report.check((*at, "key"), toleration.key, formats.qualified(toleration.key))
    elif toleration.operator != "Exists":
        report.error((*at, "operator"), "must be Exists when key is empty, which tolerates everything")
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        report.error((*at, "effect"), "must be NoExecute when tolerationSeconds is given")
    if toleration.operator == "Exists":
        if toleration.value:
            report.error((*at, "value"), "must be left out when operator is Exists")
    else:
        report.check((*at, "value"), toleration.value, formats.label_value(toleration.value))


def _check_spread(constraint: TopologySpreadConstraint, at: Location, report: Report) -> None:
    if constraint.max_skew <= 0:
        report.refuse((*at, "maxSkew"), constraint.max_skew, "must be 1 or more")
    if not constraint.topology_key:
        report.required((*at, "topologyKey"), "a node label, such as kubernetes.io/hostname")
    else:
        report.check((*at, "topologyKey"), constraint.topology_key, formats.qualified(constraint.topology_key))
    if constraint.when_unsatisfiable is None:
        report.required((*at, "whenUnsatisfiable"), "DoNotSchedule or ScheduleAnyway")
    report.at_least((*at, "minDomains"), constraint.min_domains, 1)
    if constraint.min_domains is not None and constraint.when_unsatisfiable != "DoNotSchedule":
        report.error((*at, "minDomains"), "needs whenUnsatisfiable: DoNotSchedule")
    if constraint.label_selector is not None:
        check_selector(constraint.label_selector, (*at, "labelSelector"), report)
