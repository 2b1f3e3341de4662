"""What objects can say about themselves beyond their fields."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from reconciler.model.kinds import ConfigMap, Namespace, Pod, PodSpec, Secret, ref_of
from reconciler.model.meta import LabelSelector, to_json
from reconciler.model.ref import Ref


def spec(**fields: Any) -> PodSpec:
    return PodSpec.model_validate({"containers": [{"name": "c", "image": "i"}], **fields}, by_name=False)


def test_a_pod_requests_what_it_is_limited_to() -> None:
    limits = {"cpu": "1", "memory": "64Mi"}
    resources = {"limits": limits, "requests": {"cpu": "100m"}}
    template = spec(containers=[{"name": "c", "image": "i", "resources": resources}])
    assert template.containers[0].resources.requests == {"cpu": "100m"}
    pod = template.as_pod()
    assert pod.containers[0].resources.requests == {"cpu": "100m", "memory": "64Mi"}
    assert pod.containers[0].resources.limits == limits
    assert pod.enable_service_links is True


def test_a_pod_on_the_host_network_publishes_its_ports() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]
    for field in ("containers", "initContainers"):
        template = spec(hostNetwork=True, **{field: [{"name": "c", "image": "i", "ports": ports}]})
        pod = template.as_pod()
        container = (pod.containers if field == "containers" else pod.init_containers)[0]
        assert [port.host_port for port in container.ports] == [80, 8081]


def test_becoming_a_pod_twice_changes_nothing_more() -> None:
    pod = spec(hostNetwork=True, containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]).as_pod()
    assert pod.as_pod() == pod


def test_a_template_is_not_changed_by_the_pods_made_of_it() -> None:
    template = spec(containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}])
    before = to_json(template)
    template.as_pod()
    assert to_json(template) == before


def test_a_secret_has_its_text_and_its_base64() -> None:
    secret = Secret.model_validate({"data": {"a": "AAE=", "b": "eA=="}, "stringData": {"b": "ü"}}, by_name=False)
    assert secret.contents() == {"a": b"\0\1", "b": "ü".encode()}
    assert secret.folded().contents() == secret.contents()
    assert to_json(secret.folded())["data"] == {"a": "AAE=", "b": b64encode("ü".encode()).decode()}
    assert "stringData" not in to_json(secret.folded())


def test_a_secret_does_not_print_its_values() -> None:
    secret = Secret.model_validate({"data": {"a": "c2VjcmV0"}, "stringData": {"b": "hunter2"}}, by_name=False)
    assert "c2VjcmV0" not in repr(secret)
    assert "hunter2" not in repr(secret)


def test_a_config_map_has_its_text_and_its_bytes() -> None:
    config = ConfigMap.model_validate({"data": {"a": "x", "n": None}, "binaryData": {"b": "/w\n=="}}, by_name=False)
    assert config.contents() == {"a": b"x", "n": b"", "b": b"\xff"}
    assert to_json(config)["binaryData"] == {"b": "/w=="}


def test_refs() -> None:
    meta = {"name": "x", "namespace": "prod"}
    assert ref_of(Pod.model_validate({"metadata": meta})) == Ref("Pod", "prod", "x")
    assert ref_of(Namespace.model_validate({"metadata": {"name": "prod"}})) == Ref("Namespace", "", "prod")


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "front"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors(selector: dict[str, Any], selected: bool) -> None:
    assert LabelSelector.model_validate(selector).matches({"app": "web"}) is selected
