"""The parts of a pod must agree, as the API server has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Check = Callable[..., None]
Pod = Callable[..., dict[str, Any]]

EXEC: dict[str, Any] = {"exec": {"command": ["true"]}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, ["containers: required: a pod has at least one container"]),
        (
            {"containers": [{"name": "c", "image": "i"}] * 2},
            ['containers[1].name: "c" is the name of another container'],
        ),
        (
            {"initContainers": [{"name": "c", "image": "i"}]},
            ['containers[0].name: "c" is the name of another container'],
        ),
        (
            {"initContainers": [{"name": "a", "image": "i", "livenessProbe": EXEC}]},
            ["initContainers[0].livenessProbe: must"],
        ),
        ({"initContainers": [{"name": "a", "image": "i", "livenessProbe": EXEC, "restartPolicy": "Always"}]}, []),
        ({"ephemeralContainers": [{"name": "a", "image": "i"}]}, ["ephemeralContainers: must be left out"]),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, ['volumes[1].name: "a" is the name of another volume']),
        ({"volumes": [{"name": "a.b"}]}, ['volumes[0].name: "a.b" must consist of lower case letters, digits and']),
        ({"hostname": "a.b"}, ['hostname: "a.b" must consist']),
        ({"subdomain": "a.b"}, ['subdomain: "a.b" must consist']),
        ({"nodeName": "my node"}, ['nodeName: "my node" must consist']),
        ({"serviceAccountName": "${SA}"}, ['serviceAccountName: "${SA}" must consist']),
        ({"activeDeadlineSeconds": 0}, ["activeDeadlineSeconds: 0 must be between 1"]),
        ({"nodeSelector": {"a b": "c"}}, ['nodeSelector[a b]: "a b" is no key']),
        ({"imagePullSecrets": [{}]}, []),
        (
            {"shareProcessNamespace": True, "hostPID": True},
            ["shareProcessNamespace: must not be true together with hostPID"],
        ),
        ({"hostUsers": False, "hostNetwork": True}, ["hostUsers: must not be false when hostNetwork is true"]),
        ({"securityContext": {"fsGroup": -1}}, ["securityContext.fsGroup: -1 must be between"]),
        (
            {"securityContext": {"supplementalGroups": [1, -1]}},
            ["securityContext.supplementalGroups[1]: -1 must be between"],
        ),
        ({"securityContext": {"sysctls": [{"name": "a b", "value": "1"}]}}, ["securityContext.sysctls[0].name: "]),
        (
            {"securityContext": {"sysctls": [{"name": n, "value": "1"} for n in ("net.a", "net/a")]}},
            ["securityContext.sysctls[1].name: "],
        ),
        (
            {"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.a", "value": "1"}]}},
            ["securityContext.sysctls[0].name: "],
        ),
        (
            {"hostAliases": [{"ip": "me", "hostnames": ["A"]}]},
            ['hostAliases[0].ip: "me" is not', "hostAliases[0].hostnames[0]: "],
        ),
        ({"dnsPolicy": "None"}, ["dnsConfig.nameservers: required"]),
        ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, ["dnsConfig.nameservers: too many"]),
        ({"dnsConfig": {"nameservers": ["dns"]}}, ['dnsConfig.nameservers[0]: "dns" is not an IP address']),
        ({"dnsConfig": {"searches": ["a_b.c.", ".", "-"]}}, ['dnsConfig.searches[2]: "-" is not a domain name']),
        ({"dnsConfig": {"options": [{"value": "1"}]}}, ["dnsConfig.options[0].name: required"]),
        ({"tolerations": [{"operator": "Exists"}, {"key": "a", "operator": "Equal", "value": "b"}]}, []),
        ({"tolerations": [{}]}, ["tolerations[0].operator: must be Exists"]),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            ["tolerations[0].value: must be left out"],
        ),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 1}]}, ["tolerations[0].effect: must be NoExecute"]),
        (
            {"topologySpreadConstraints": [{"minDomains": 0}]},
            [
                f"topologySpreadConstraints[0].{field}"
                for field in (
                    "maxSkew: 0",
                    "topologyKey: required",
                    "whenUnsatisfiable: required",
                    "minDomains: 0",
                    "minDomains: needs",
                )
            ],
        ),
        (
            {"affinity": {"nodeAffinity": {REQUIRED: {}}}},
            [f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms: required"],
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{}]}}},
            [f"affinity.podAffinity.{REQUIRED}[0].topologyKey: required"],
        ),
        (
            {"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "a b"}]}}},
            [f"affinity.podAntiAffinity.{REQUIRED}[0].topologyKey: "],
        ),
        ({"resourceClaims": [{"name": "a"}]}, ["resourceClaims[0]: needs either"]),
        ({"readinessGates": [{"conditionType": "a/b/c"}]}, ["readinessGates[0].conditionType: "]),
    ],
)
def test_pods(spec: dict[str, Any], expected: list[str], pod: Pod, check: Check) -> None:
    check(pod(**spec), "spec.", *expected)
