"""Containers are held to the API server's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Check = Callable[..., None]
Pod = Callable[..., dict[str, Any]]


def env(source: dict[str, Any]) -> dict[str, Any]:
    return {"env": [{"name": "A", "valueFrom": source}]}


def limits(limits: dict[str, Any], requests: dict[str, Any]) -> dict[str, Any]:
    return {"resources": {"limits": limits, "requests": requests}}


MUST = "must consist of lower case letters, digits"
EXEC: dict[str, Any] = {"exec": {"command": ["true"]}}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"image": ""}, ['image: required: the image that container "c" runs']),
        ({"image": " i"}, ['image: " i" must not begin or end with white space']),
        ({"image": "nginx:$TAG"}, []),
        (
            {"name": "My_App"},
            [f"""name: "My_App" {MUST} and '-', and begin and end with a letter or digit; did you mean "my-app"?"""],
        ),
        ({"name": "a" * 64}, [f'name: "{"a" * 64}" has 64 characters, and at most 63']),
        ({"name": ""}, ["name: required"]),
        ({"ports": [{}]}, ["ports[0].containerPort: required"]),
        ({"ports": [{"containerPort": 70000}]}, ["ports[0].containerPort: 70000 must be between 1 and 65535"]),
        ({"ports": [{"containerPort": 1, "hostPort": -1}]}, ["ports[0].hostPort: -1 must be between 1 and 65535"]),
        ({"ports": [{"containerPort": 1, "hostIP": "me"}]}, ['ports[0].hostIP: "me" is not an IP address']),
        (
            {"ports": [{"containerPort": 1, "name": n} for n in ("a", "a")]},
            ['ports[1].name: "a" is the name of another'],
        ),
        ({"ports": [{"containerPort": 1, "name": "80"}]}, ['ports[0].name: "80" must have at least one letter']),
        ({"ports": [{"containerPort": 1, "name": "a--b"}]}, ['ports[0].name: "a--b" must not begin or end']),
        ({"ports": [{"containerPort": 1, "name": "x" * 16}]}, [f'ports[0].name: "{"x" * 16}" has 16 characters']),
        (
            {"ports": [{"containerPort": n, "hostPort": 80} for n in (1, 2)]},
            ["ports[1].hostPort: 80 is used by another"],
        ),
        ({"ports": [{"containerPort": 1, "hostPort": 80, "protocol": p} for p in ("TCP", "UDP")]}, []),
        ({"env": [{"name": "A=B"}]}, ['env[0].name: "A=B" is no name of a variable']),
        ({"env": [{"name": "my.var-1"}]}, []),
        ({"env": [{"value": "x"}]}, ["env[0].name: required"]),
        ({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {}}}]}, ["env[0].valueFrom: must be left out"]),
        (env({}), ["env[0].valueFrom: says nothing: where the value comes from must be one of fieldRef"]),
        (
            env({"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}}),
            ["env[0].valueFrom: has fieldRef and secretKeyRef, and only one"],
        ),
        (env({"fieldRef": {"fieldPath": "status.podIP"}}), []),
        (env({"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}), []),
        (
            env({"fieldRef": {"fieldPath": "status.phase"}}),
            ['env[0].valueFrom.fieldRef.fieldPath: "status.phase" is not'],
        ),
        (env({"fieldRef": {"fieldPath": "metadata.labels"}}), ["env[0].valueFrom.fieldRef.fieldPath: "]),
        (env({"fieldRef": {"fieldPath": "metadata.labels['a b']"}}), ["env[0].valueFrom.fieldRef.fieldPath: "]),
        (env({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}), []),
        (env({"resourceFieldRef": {"resource": "memory"}}), ["env[0].valueFrom.resourceFieldRef.resource: "]),
        (
            env({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}),
            ["env[0].valueFrom.resourceFieldRef.divisor"],
        ),
        (env({"configMapKeyRef": {"key": "k"}}), ["env[0].valueFrom.configMapKeyRef.name: required"]),
        (env({"secretKeyRef": {"name": "s"}}), ["env[0].valueFrom.secretKeyRef.key: required"]),
        (env({"secretKeyRef": {"name": "s", "key": "a/b"}}), ['env[0].valueFrom.secretKeyRef.key: "a/b" is no key']),
        ({"envFrom": [{}]}, ["envFrom[0]: says nothing"]),
        (
            {"envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]},
            ["envFrom[0]: has configMapRef and"],
        ),
        ({"envFrom": [{"secretRef": {}}]}, ["envFrom[0].secretRef.name: required: the name of the Secret"]),
        ({"envFrom": [{"configMapRef": {"name": "A"}}]}, ['envFrom[0].configMapRef.name: "A" must consist']),
        (limits({"cpu": "1"}, {"cpu": "2"}), ['resources.requests.cpu: "2" must not be more than the limit, 1']),
        (limits({"cpu": "1"}, {"cpu": "1000m"}), []),
        (limits({"cpu": "-1"}, {}), ['resources.limits.cpu: "-1" must not be negative']),
        (limits({"gpu": 1}, {}), ['resources.limits.gpu: "gpu" is no resource']),
        (limits({}, {"example.com/gpu": 1}), ["resources.limits[example.com/gpu]: required"]),
        (
            limits({"example.com/gpu": 2}, {"example.com/gpu": 1}),
            ['resources.requests[example.com/gpu]: "1" must equal'],
        ),
        (
            limits({"example.com/gpu": "1500m", "cpu": 1}, {}),
            ['resources.limits[example.com/gpu]: "1500m" must be a whole'],
        ),
        (limits({"hugepages-2Mi": "2Mi"}, {}), ["resources: hugepages need a cpu or memory request"]),
        ({"resources": {"claims": [{"name": "gpu"}]}}, ['resources.claims[0].name: "gpu" is not among']),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            ['volumeMounts[0].name: the pod has no volume "v"; it declares none'],
        ),
        ({"volumeDevices": [{"name": "v", "devicePath": "/v"}]}, ['volumeDevices[0].name: the pod has no volume "v"']),
        ({"livenessProbe": {}}, ["livenessProbe: required: what to do, one of exec, httpGet, tcpSocket, grpc"]),
        (
            {"livenessProbe": {**EXEC, "tcpSocket": {"port": 1}}},
            ["livenessProbe: has exec and tcpSocket, and only one"],
        ),
        ({"livenessProbe": {**EXEC, "successThreshold": 2}}, ["livenessProbe.successThreshold: 2 must be 1"]),
        ({"readinessProbe": {**EXEC, "successThreshold": 2}}, []),
        (
            {"readinessProbe": {**EXEC, "terminationGracePeriodSeconds": 9}},
            ["readinessProbe.terminationGracePeriodSeconds: "],
        ),
        ({"startupProbe": {**EXEC, "periodSeconds": -1}}, ["startupProbe.periodSeconds: -1 must be 0 or more"]),
        ({"startupProbe": {"exec": {}}}, ["startupProbe.exec.command: required"]),
        ({"startupProbe": {"httpGet": {}}}, ["startupProbe.httpGet.port: 0 must be between 1 and 65535"]),
        ({"startupProbe": {"httpGet": {"port": "Http"}}}, ['startupProbe.httpGet.port: "Http" must consist']),
        ({"startupProbe": {"grpc": {}}}, ["startupProbe.grpc.port: 0 must be between 1 and 65535"]),
        ({"lifecycle": {"preStop": {}}}, ["lifecycle.preStop: required"]),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            ["lifecycle.preStop.sleep.seconds: 31 must be between 0 and 30"],
        ),
        ({"lifecycle": {"stopSignal": "SIGUSR1"}}, ["lifecycle.stopSignal: needs spec.os.name"]),
        ({"securityContext": {"runAsUser": -1}}, ["securityContext.runAsUser: -1 must be between 0 and 2147483647"]),
        (
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            ["securityContext.allowPrivilegeEscalation: "],
        ),
        (
            {"securityContext": {"procMount": "Unmasked"}},
            ["securityContext.procMount: Unmasked needs hostUsers: false"],
        ),
        ({"securityContext": {"seccompProfile": {}}}, ["securityContext.seccompProfile.type: required"]),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
            ["securityContext.seccompProfile.localhostProfile: required"],
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}},
            ["securityContext.seccompProfile.localhostProfile: \"../x\" must not contain '..'"],
        ),
    ],
)
def test_containers(container: dict[str, Any], expected: list[str], pod: Pod, check: Check) -> None:
    check(pod(container), "spec.containers[0].", *expected)
