"""Documents become complete objects, or problems that say where and how to mend them."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.kube import Entry, read_document
from reconciler.manifest.problems import Problem, Severity, errors
from reconciler.manifest.yamldoc import Document, parse
from reconciler.model.meta import to_json


def read(text: str) -> tuple[list[Entry], list[Problem]]:
    documents, problems = parse(dedent(text).lstrip("\n").encode(), "web.yaml")
    entries: list[Entry] = []
    for document in documents:
        more, faults = read_document(document)
        entries += more
        problems = [*problems, *faults]
    return entries, problems


def shown(text: str) -> dict[str, Any]:
    entries, problems = read(text)
    assert not errors(problems)
    assert len(entries) == 1
    return to_json(entries[0].object)


DEPLOYMENT = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, creationTimestamp: null, uid: left-over, resourceVersion: "1"}
    spec:
      selector: {matchLabels: {app: web}}
      strategy:
        type: RollingUpdate
        rollingUpdate: {maxSurge: 0}
      template:
        metadata: {labels: {app: web}}
        spec:
          hostNetwork: true
          serviceAccount: robot
          containers:
          - name: c
            image: nginx
            ports: [{containerPort: 80}]
            resources: {limits: {cpu: 0.5, memory: 1024Mi}}
            livenessProbe: {httpGet: {port: 80}, timeoutSeconds: 0}
            env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          volumes:
          - name: scratch
          - {name: config, configMap: {name: settings}}
          - {name: host, hostPath: {path: /srv}}
    status: {replicas: 3}
"""


def test_a_deployment_is_filled_in_as_the_api_server_does() -> None:
    assert shown(DEPLOYMENT) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "restartPolicy": "Always",
                    "terminationGracePeriodSeconds": 30,
                    "dnsPolicy": "ClusterFirst",
                    "serviceAccountName": "robot",
                    "serviceAccount": "robot",
                    "hostNetwork": True,
                    "securityContext": {},
                    "schedulerName": "default-scheduler",
                    "containers": [
                        {
                            "name": "c",
                            "image": "nginx",
                            "imagePullPolicy": "Always",
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                            "livenessProbe": {
                                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                                "timeoutSeconds": 1,
                                "periodSeconds": 10,
                                "successThreshold": 1,
                                "failureThreshold": 3,
                            },
                            "env": [
                                {
                                    "name": "NODE",
                                    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}},
                                }
                            ],
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                        }
                    ],
                    "volumes": [
                        {"name": "scratch", "emptyDir": {}},
                        {"name": "config", "configMap": {"name": "settings", "defaultMode": 0o644}},
                        {"name": "host", "hostPath": {"path": "/srv", "type": ""}},
                    ],
                },
            },
        },
    }


def test_a_pod_has_defaults_that_a_template_has_not() -> None:
    pod = shown(
        """
        {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: prod}, spec: {hostNetwork: true, containers: [
          {name: c, image: "nginx:1", ports: [{containerPort: 80}], resources: {limits: {memory: 1G}}}]}}
        """
    )
    assert pod["metadata"] == {"name": "p", "namespace": "prod"}
    assert pod["spec"]["enableServiceLinks"] is True
    assert pod["spec"]["containers"][0]["ports"] == [{"hostPort": 80, "containerPort": 80, "protocol": "TCP"}]
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"memory": "1G"}, "requests": {"memory": "1G"}}
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_a_namespace_is_in_no_namespace() -> None:
    assert shown("{apiVersion: v1, kind: Namespace, metadata: {name: prod, namespace: x}}") == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "prod", "labels": {"kubernetes.io/metadata.name": "prod"}},
        "spec": {"finalizers": ["kubernetes"]},
    }


def test_a_secret_keeps_all_as_data() -> None:
    secret = shown("{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: x}, data: {b: eQ==}}")
    assert (secret["data"], secret["type"]) == ({"a": "eA==", "b": "eQ=="}, "Opaque")


def test_a_generated_name_is_the_same_every_time_and_another_for_other_content() -> None:
    pod = "{apiVersion: v1, kind: Pod, metadata: {generateName: job-}, spec: {containers: [{name: c, image: %s}]}}"
    names = [shown(pod % image)["metadata"]["name"] for image in ("a", "a", "b")]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("job-") and len(names[0]) == len("job-") + 5


LIST = """
    apiVersion: v1
    kind: List
    items:
    - apiVersion: v1
      kind: ConfigMap
      metadata: {name: a}
    - apiVersion: v1
      kind: List
      items:
      - apiVersion: v1
        kind: ConfigMap
        metadata: {name: b}
        data:
          port: 80
    - apiVersion: v1
      kind: ConfigMapList
      items:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
"""


def test_the_items_of_lists_are_objects_with_their_own_lines() -> None:
    entries, problems = read(LIST)
    assert [entry.object.metadata.name for entry in entries] == ["a", "c"]
    assert [str(problem) for problem in problems] == [
        'web.yaml:14: data.port: 80 is a number, and text is expected: write "80"'
    ]
    assert [entry.line for entry in entries] == [4, 18]
    assert entries[0].lines[("metadata", "name")] == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", "web.yaml:1: a manifest is a mapping with apiVersion, kind and metadata"),
        ("kind: Pod", "web.yaml:1: apiVersion: required: it says what this object is, such as v1 or apps/v1"),
        ("apiVersion: v1\nkind: 7", "web.yaml:2: kind: text is expected, such as Pod or Deployment"),
        (
            "apiVersion: apps/v1beta1\nkind: Deployment",
            "web.yaml:2: kind: Deployment has no version apps/v1beta1; did you mean apiVersion: apps/v1?",
        ),
        (
            "apiVersion: v1\nkind: Deployment",
            "web.yaml:2: kind: Deployment has no version v1; did you mean apiVersion: apps/v1?",
        ),
        (
            "apiVersion: apps/v1\nkind: Deploymnet",
            'web.yaml:2: kind: unknown kind Deploymnet; did you mean "Deployment"?',
        ),
        ("apiVersion: v1\nkind: Zebra", "web.yaml:2: kind: unknown kind Zebra in apiVersion v1"),
        ("apiVersion: v1\nkind: List\nitems: 3", "web.yaml:3: items: the items of a List are a list of objects"),
    ],
)
def test_what_is_no_object_holds_the_file_back(text: str, expected: str) -> None:
    entries, problems = read(text)
    assert not entries
    assert [str(problem) for problem in problems] == [expected]
    assert problems[0].scope == "file"


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        ("v1", "Service", "is not supported yet"),
        ("batch/v1", "CronJob", "is not supported yet"),
        ("networking.k8s.io/v1", "Ingress", "is not supported yet"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "is not supported yet"),
        ("cert-manager.io/v1", "Certificate", "is a custom resource"),
    ],
)
def test_kinds_of_others_are_left_out_alone(version: str, kind: str, said: str) -> None:
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}"
    entries, problems = read(f"{good}\n---\napiVersion: {version}\nkind: {kind}\n")
    assert len(entries) == 1
    assert [(problem.line, problem.scope, problem.severity) for problem in problems] == [(6, "object", Severity.ERROR)]
    assert f"{kind} ({version}) {said}" in problems[0].message


POD = """
    apiVersion: v1
    kind: Pod
    metadata:
      name: web
    spec:
      containers:
      - name: web
        image: nginx
        {}
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "resources: {limits: {memory: 512mb}}",
            ".resources.limits.memory: '512mb' is not a memory quantity; did you mean \"512M\"?",
        ),
        (
            "resources: {limits: {cpu: true}}",
            ".resources.limits.cpu: true is a boolean, and a quantity, such as 500m or 64Mi is expected",
        ),
        ("imagePulPolicy: Always", '.imagePulPolicy: unknown field; did you mean "imagePullPolicy"?'),
        ("imagepullpolicy: Always", '.imagepullpolicy: unknown field; did you mean "imagePullPolicy"?'),
        (
            "runAsUser: 7",
            ".runAsUser: unknown field here; did you mean spec.containers[0].securityContext.runAsUser?",
        ),
        ("hostNetwork: true", ".hostNetwork: unknown field here; did you mean spec.hostNetwork?"),
        ("zebra: 1", ".zebra: unknown field"),
        (
            "imagePullPolicy: always",
            '.imagePullPolicy: "always" is not one of Always, IfNotPresent, Never; did you mean "Always"?',
        ),
        ("stdin: yes please", '.stdin: "yes please" is text, and true or false is expected'),
        ("workingDir: 80", '.workingDir: 80 is a number, and text is expected: write "80"'),
        ("workingDir: true", '.workingDir: true is a boolean, and text is expected: write "true"'),
        ("command: sh", '.command: "sh" is text, and a list is expected'),
        ("ports: {containerPort: 80}", ".ports: a mapping, and a list is expected: begin each item with '- '"),
        (
            'ports: [{containerPort: "80"}]',
            '.ports[0].containerPort: "80" is text, and a whole number is expected: write 80 without quotes',
        ),
        (
            "ports: [{containerPort: 99999999999}]",
            ".ports[0].containerPort: 99999999999 does not fit: the numbers here have 32 bits",
        ),
        ("ports: [http]", '.ports[0]: "http" is text, and a mapping is expected'),
        ("env: [{name: A, value: 1}]", ".env[0].value: a number, and text is expected: put it in quotes"),
        (
            "livenessProbe: {httpGet: {port: [1]}}",
            ".livenessProbe.httpGet.port: a list, and a whole number or text is expected",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_said_in_words(line: str, expected: str) -> None:
    entries, problems = read(POD.format(line))
    assert not entries
    assert [str(problem) for problem in errors(problems)] == [f"web.yaml:9: spec.containers[0]{expected}"]


def test_a_misspelt_field_is_not_also_reported_as_missing() -> None:
    _, problems = read("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  contAIN3rz: []")
    assert [str(each) for each in problems] == [
        'web.yaml:5: spec.contAIN3rz: unknown field; did you mean "containers"?'
    ]


def test_faults_of_type_and_of_meaning_are_told_at_once() -> None:
    _, problems = read(
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: Web}
        spec:
          restartPolicy: Sometimes
          containers:
          - name: c
            imagee: nginx
            volumeMounts: [{name: data, mountPath: 7}]
        """
    )
    assert [(problem.line, problem.field) for problem in errors(problems)] == [
        (3, "metadata.name"),
        (5, "spec.restartPolicy"),
        (8, "spec.containers[0].imagee"),
        (9, "spec.containers[0].volumeMounts[0].mountPath"),
        (9, "spec.containers[0].volumeMounts[0].name"),
    ]


def test_a_hostile_number_of_faults_is_cut() -> None:
    many = {f"x{number}": 1 for number in range(10_000)}
    document = Document({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **many}, "f", 1, {})
    _, problems = read_document(document)
    assert len(problems) == 51
    assert problems[-1].message == "9950 more faults of this object are not shown"


scalars = st.one_of(
    st.integers(10**6), st.floats(allow_nan=False).filter(lambda x: len(str(x)) > 5), st.text(min_size=6)
)
secrets = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.just("k"), inner)), max_leaves=3
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [str(value)]


@settings(deadline=None)
@given(value=secrets, field=st.sampled_from(["data", "stringData"]), inside=st.booleans())
def test_no_problem_of_a_secret_shows_its_values(value: Any, field: str, inside: bool) -> None:
    content = {"password": value} if inside else value
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, field: content}
    _, problems = read_document(Document(manifest, "s.yaml", 1, {}))
    told = " ".join(str(problem) for problem in problems)
    assert not [leaf for leaf in leaves(value) if len(leaf) > 5 and leaf in told]


@settings(deadline=None)
@given(value=secrets)
def test_no_problem_shows_the_value_of_a_variable(value: Any) -> None:
    container = {"name": "c", "image": "i", "env": [{"name": "PASSWORD", "value": value}]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    _, problems = read_document(Document(manifest, "p.yaml", 1, {}))
    told = " ".join(str(problem) for problem in problems)
    assert not [leaf for leaf in leaves(value) if len(leaf) > 5 and leaf in told]


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)
keys = st.sampled_from(
    ["metadata", "spec", "containers", "template", "selector", "name", "labels", "image", "data", "items"]
)
shaped = st.recursive(
    anything,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=15,
)


@settings(deadline=None)
@given(kind=st.sampled_from(["Pod", "Deployment", "Secret", "ConfigMap", "Namespace", "List"]), body=shaped)
def test_reading_never_raises(kind: str, body: Any) -> None:
    manifest = {**(body if isinstance(body, dict) else {"spec": body}), "kind": kind}
    manifest["apiVersion"] = "apps/v1" if kind == "Deployment" else "v1"
    entries, problems = read_document(Document(manifest, "f", 1, {}))
    assert len(entries) + len(problems) > 0 or kind == "List"
