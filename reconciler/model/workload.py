"""Workloads: objects that keep a number of pods of one template."""

from typing import Any, Literal

from pydantic import Field

from reconciler.model.fields import Flag, Int32, IntOrText
from reconciler.model.meta import Declared, KubeObject, LabelSelector
from reconciler.model.pod import PodTemplateSpec


class RollingUpdateDeployment(Declared):
    """Numbers of pods, or percentages such as "25%"."""

    max_unavailable: IntOrText | None = "25%"
    max_surge: IntOrText | None = "25%"


class DeploymentStrategy(Declared):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdateDeployment | None = None

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        if data.get("type", "RollingUpdate") == "RollingUpdate" and "rolling_update" not in data:
            data.setdefault("rollingUpdate", {})


class DeploymentSpec(Declared):
    replicas: Int32 | None = 1
    selector: LabelSelector | None = None
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    strategy: DeploymentStrategy = Field(default_factory=lambda: DeploymentStrategy.model_validate({}))
    min_ready_seconds: Int32 = 0
    revision_history_limit: Int32 | None = 10
    paused: Flag = False
    progress_deadline_seconds: Int32 | None = 600


class Deployment(KubeObject):
    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    spec: DeploymentSpec = Field(default_factory=DeploymentSpec)


class ReplicaSetSpec(Declared):
    replicas: Int32 | None = 1
    min_ready_seconds: Int32 = 0
    selector: LabelSelector | None = None
    template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)


class ReplicaSet(KubeObject):
    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["ReplicaSet"] = "ReplicaSet"
    spec: ReplicaSetSpec = Field(default_factory=ReplicaSetSpec)
