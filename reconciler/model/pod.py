"""Pods, and the templates that workloads make them of."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.model.container import Container, ContainerPort, EphemeralContainer, ResourceRequirements
from reconciler.model.fields import Amounts, Flag, Int32, Int64, Text, TextMap, Texts
from reconciler.model.meta import Declared, KubeObject, ObjectMeta
from reconciler.model.scheduling import (
    Affinity,
    PodReadinessGate,
    PodResourceClaim,
    PodSchedulingGate,
    PodSchedulingGroup,
    Toleration,
    TopologySpreadConstraint,
)
from reconciler.model.security import PodSecurityContext
from reconciler.model.storage import LocalObjectReference
from reconciler.model.volume import Volume


class HostAlias(Declared):
    ip: Text = ""
    hostnames: Texts = ()


class PodDNSConfigOption(Declared):
    name: Text = ""
    value: Text | None = None


class PodDNSConfig(Declared):
    nameservers: Texts = ()
    searches: Texts = ()
    options: tuple[PodDNSConfigOption, ...] = ()


class PodOS(Declared):
    name: Literal["linux", "windows"] | None = None


class PodSpec(Declared):
    zero_is_unset: ClassVar[frozenset[str]] = frozenset({"preemptionPolicy"})

    volumes: tuple[Volume, ...] = ()
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Int64 | None = 30
    active_deadline_seconds: Int64 | None = None
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] = "ClusterFirst"
    node_selector: TextMap = Field(default_factory=dict)
    service_account_name: Text = ""
    service_account: Text = ""
    automount_service_account_token: Flag | None = None
    node_name: Text = ""
    host_network: Flag = False
    host_pid: Flag = False
    host_ipc: Flag = False
    share_process_namespace: Flag | None = None
    security_context: PodSecurityContext = Field(default_factory=PodSecurityContext)
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    hostname: Text = ""
    subdomain: Text = ""
    affinity: Affinity | None = None
    scheduler_name: Text = "default-scheduler"
    tolerations: tuple[Toleration, ...] = ()
    host_aliases: tuple[HostAlias, ...] = ()
    priority_class_name: Text = ""
    priority: Int32 | None = None
    dns_config: PodDNSConfig | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    runtime_class_name: Text | None = None
    enable_service_links: Flag | None = None
    preemption_policy: Literal["PreemptLowerPriority", "Never"] | None = None
    overhead: Amounts = Field(default_factory=dict)
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    set_hostname_as_fqdn: Flag | None = None
    os: PodOS | None = None
    host_users: Flag | None = None
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()
    resources: ResourceRequirements | None = None
    hostname_override: Text | None = None
    scheduling_group: PodSchedulingGroup | None = None

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        account = data.get("serviceAccountName") or data.get("serviceAccount")
        if account:
            data["serviceAccountName"] = data["serviceAccount"] = account

    def as_pod(self) -> "PodSpec":
        """With the defaults that a Pod has and a template has not: requests from limits, host
        ports with hostNetwork, enableServiceLinks. Idempotent. Source: SetDefaults_Pod."""
        return self.model_copy(
            update={
                "containers": tuple(_as_pod(container, self.host_network) for container in self.containers),
                "init_containers": tuple(_as_pod(container, self.host_network) for container in self.init_containers),
                "enable_service_links": True if self.enable_service_links is None else self.enable_service_links,
                "resources": self.resources and self.resources.with_requests(),
            }
        )


def _as_pod(container: Container, host_network: bool) -> Container:
    resources = container.resources.with_requests()
    ports = tuple(map(_on_host, container.ports)) if host_network else container.ports
    if resources is container.resources and ports == container.ports:
        return container
    return container.model_copy(update={"resources": resources, "ports": ports})


def _on_host(port: ContainerPort) -> ContainerPort:
    return port if port.host_port else port.model_copy(update={"host_port": port.container_port})


class PodTemplateSpec(Declared):
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: PodSpec = Field(default_factory=PodSpec)

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels


class Pod(KubeObject):
    api_version: Literal["v1"] = "v1"
    kind: Literal["Pod"] = "Pod"
    spec: PodSpec = Field(default_factory=PodSpec)
