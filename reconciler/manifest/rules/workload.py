"""Rules of Deployments and ReplicaSets."""

from __future__ import annotations

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.metadata import check_selector, check_template_metadata
from reconciler.manifest.rules.pod import check_pod_spec
from reconciler.manifest.rules.report import Report
from reconciler.manifest.yamltree import Location
from reconciler.model.meta import LabelSelector
from reconciler.model.pod import PodTemplateSpec
from reconciler.model.workload import Deployment, DeploymentSpec, ReplicaSet


def check_deployment(deployment: Deployment, report: Report) -> None:
    spec = deployment.spec
    _check_pods(spec.selector, spec.template, "Deployment", report)
    report.at_least(("spec", "replicas"), spec.replicas)
    report.at_least(("spec", "minReadySeconds"), spec.min_ready_seconds)
    report.at_least(("spec", "revisionHistoryLimit"), spec.revision_history_limit)
    deadline = spec.progress_deadline_seconds
    report.at_least(("spec", "progressDeadlineSeconds"), deadline)
    if deadline is not None and deadline <= spec.min_ready_seconds:
        report.refuse(
            ("spec", "progressDeadlineSeconds"),
            deadline,
            f"must be more than minReadySeconds ({spec.min_ready_seconds})",
        )
    _check_strategy(spec, report)


def check_replica_set(replicas: ReplicaSet, report: Report) -> None:
    spec = replicas.spec
    _check_pods(spec.selector, spec.template, "ReplicaSet", report)
    report.at_least(("spec", "replicas"), spec.replicas)
    report.at_least(("spec", "minReadySeconds"), spec.min_ready_seconds)


def _check_pods(selector: LabelSelector | None, template: PodTemplateSpec, kind: str, report: Report) -> None:
    labels = template.metadata.labels
    if selector is None:
        report.required(("spec", "selector"), _how_to_select(kind, labels=bool(labels)))
    else:
        check_selector(selector, ("spec", "selector"), report)
        if not selector.match_labels and not selector.match_expressions:
            report.error(("spec", "selector"), f"must not be empty: {_how_to_select(kind, labels=bool(labels))}")
        elif not selector.matches(labels):
            report.error(("spec", "template", "metadata", "labels"), _mismatch(selector, template))
    at: Location = ("spec", "template")
    check_template_metadata(template.metadata, (*at, "metadata"), report)
    check_pod_spec(template.spec, (*at, "spec"), report, is_pod=False)
    if template.spec.restart_policy != "Always":
        report.refuse(
            (*at, "spec", "restartPolicy"),
            template.spec.restart_policy,
            f"is not for a {kind}: its pods always restart",
        )
    if template.spec.active_deadline_seconds is not None:
        report.error((*at, "spec", "activeDeadlineSeconds"), f"a {kind} has no deadline: its pods run until removed")


def _how_to_select(kind: str, *, labels: bool) -> str:
    mend = (
        "copy the template's labels into its matchLabels" if labels else "give the template labels and repeat them here"
    )
    return f"it says which pods belong to this {kind}; {mend}"


def _mismatch(selector: LabelSelector, template: PodTemplateSpec) -> str:
    labels = template.metadata.labels
    wrong = [f"{key}: {value}" for key, value in selector.match_labels.items() if labels.get(key) != value]
    if wrong:
        return f"spec.selector does not match these labels: it asks for {', '.join(wrong[:3])}"
    return "spec.selector does not match these labels: its matchExpressions do not hold for them"


def _check_strategy(spec: DeploymentSpec, report: Report) -> None:
    at: Location = ("spec", "strategy", "rollingUpdate")
    rolling = spec.strategy.rolling_update
    if spec.strategy.type == "Recreate":
        if rolling is not None:
            report.error(at, "must be left out when the strategy's type is Recreate")
        return
    if rolling is None:
        return
    surge = _count(rolling.max_surge, (*at, "maxSurge"), report)
    unavailable = _count(rolling.max_unavailable, (*at, "maxUnavailable"), report)
    if isinstance(rolling.max_unavailable, str) and unavailable is not None and unavailable > 100:
        report.refuse((*at, "maxUnavailable"), rolling.max_unavailable, "must not be more than 100%")
    if surge == 0 and unavailable == 0:
        report.error((*at, "maxUnavailable"), "must not be 0 when maxSurge is 0 too: no pod could ever be replaced")


def _count(value: int | str | None, at: Location, report: Report) -> int | None:
    """The number in front of "%", or the number itself; None is not known."""
    if isinstance(value, str):
        fault = formats.percent(value)
        report.check(at, value, fault)
        return None if fault else int(value[:-1])
    report.at_least(at, value)
    return value
