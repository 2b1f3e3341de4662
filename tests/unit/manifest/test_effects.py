"""Fields that change nothing here are told, once, as what they are."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.manifest.effects import POD_NO_EFFECT, POD_NOT_YET, WORKLOAD_NOT_YET
from reconciler.manifest.kube import read_document
from reconciler.manifest.yamldoc import Document
from reconciler.model.kinds import Deployment, PodSpec
from reconciler.model.meta import Declared, model_within


def told(manifest: dict[str, Any]) -> list[str]:
    entries, problems = read_document(Document(manifest, "f.yaml", 1, {}))
    assert len(entries) == 1
    return [f"{problem.severity} {problem.field}" for problem in problems]


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": name, "image": "i", **(container or {})} for name in ("a", "b")]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


PROBE = {"exec": {"command": ["true"]}}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (pod(), []),
        (pod({"livenessProbe": PROBE}), ["warning spec.containers[0].livenessProbe"]),
        (
            pod({"livenessProbe": PROBE, "readinessProbe": PROBE}),
            ["warning spec.containers[0].livenessProbe", "warning spec.containers[0].readinessProbe"],
        ),
        (pod(nodeSelector={"a": "b"}), ["note spec.nodeSelector"]),
        (pod(schedulerName="default-scheduler"), []),
        (pod(schedulerName="mine"), ["note spec.schedulerName"]),
        (pod(hostUsers=False), ["warning spec.hostUsers"]),
        (
            pod(volumes=[{"name": "a"}, {"name": "b", "persistentVolumeClaim": {"claimName": "c"}}]),
            ["warning spec.volumes[1].persistentVolumeClaim"],
        ),
        (
            pod(initContainers=[{"name": "i", "image": "i", "restartPolicy": "Always"}]),
            ["warning spec.initContainers[0].restartPolicy"],
        ),
    ],
)
def test_what_is_told_of_a_pod(manifest: dict[str, Any], expected: list[str]) -> None:
    assert told(manifest) == expected


def test_what_is_told_of_a_template_has_its_place() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(nodeName="n")["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, "paused": True}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    assert told(manifest) == ["warning spec.paused", "note spec.template.spec.nodeName"]


@pytest.mark.parametrize("path", [*POD_NOT_YET, *POD_NO_EFFECT, *WORKLOAD_NOT_YET])
def test_every_path_of_the_tables_is_a_field(path: str) -> None:
    model: type[Declared] | None = Deployment if path in WORKLOAD_NOT_YET else PodSpec
    for part in path.split("."):
        assert model is not None
        field = next(field for field in model.model_fields.values() if field.alias == part.removesuffix("[]"))
        assert part.endswith("[]") == ("[]" in part)
        model = model_within(field.annotation)


def test_no_field_is_in_two_tables() -> None:
    assert not POD_NOT_YET.keys() & POD_NO_EFFECT.keys()
