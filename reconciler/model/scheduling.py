"""Where a pod may run. A machine that is alone has no choice: these are accepted, checked and noted."""

from typing import ClassVar, Literal

from pydantic import Field

from reconciler.model.fields import Int32, Int64, Text, Texts
from reconciler.model.meta import Declared, LabelSelector


class NodeSelectorRequirement(Declared):
    key: Text = ""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] | None = None
    values: Texts = ()


class NodeSelectorTerm(Declared):
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(Declared):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredSchedulingTerm(Declared):
    weight: Int32 = 0
    preference: NodeSelectorTerm = Field(default_factory=NodeSelectorTerm)


class NodeAffinity(Declared):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()


class PodAffinityTerm(Declared):
    label_selector: LabelSelector | None = None
    namespaces: Texts = ()
    topology_key: Text = ""
    namespace_selector: LabelSelector | None = None
    match_label_keys: Texts = ()
    mismatch_label_keys: Texts = ()


class WeightedPodAffinityTerm(Declared):
    weight: Int32 = 0
    pod_affinity_term: PodAffinityTerm = Field(default_factory=PodAffinityTerm)


class PodAffinity(Declared):
    """Also podAntiAffinity, which has the same fields."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()


class Affinity(Declared):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(Declared):
    zero_is_unset: ClassVar[frozenset[str]] = frozenset({"operator", "effect"})

    key: Text = ""
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = None
    value: Text = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Int64 | None = None


class TopologySpreadConstraint(Declared):
    max_skew: Int32 = 0
    topology_key: Text = ""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] | None = None
    label_selector: LabelSelector | None = None
    min_domains: Int32 | None = None
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    match_label_keys: Texts = ()


class PodReadinessGate(Declared):
    condition_type: Text = ""


class PodSchedulingGate(Declared):
    name: Text = ""


class PodSchedulingGroup(Declared):
    pod_group_name: Text | None = None


class PodResourceClaim(Declared):
    """A device that the pod asks for: exactly one of the two sources."""

    name: Text = ""
    resource_claim_name: Text | None = None
    resource_claim_template_name: Text | None = None
