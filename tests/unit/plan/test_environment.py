"""`$(VAR)`, envFrom, env and field references, as kubelet resolves them."""

from __future__ import annotations

import pytest

from reconciler.manifest.reader import Reader
from reconciler.model.kinds import Object, Pod
from reconciler.model.ref import Ref
from reconciler.model.sandbox import POD_IP, EmptyDir, File, Files, HostPath, Mount, Port
from reconciler.plan.environment import Node, expand_references
from reconciler.plan.pods import Blocked, Want
from reconciler.plan.resolve import resolve, uses

NODE = Node("here", 2000, 8 << 30)
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {A: one, B: two, file.txt: text}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {password: aHVudGVyMg==}
---
"""


def objects(text: str) -> dict[Ref, Object]:
    reading = Reader().read({"x.yaml": (CONFIG + text).encode()})
    assert not [str(p) for p in reading.problems if p.severity == "error"]
    return {ref: entry.object for ref, entry in reading.objects.items()}


def want(container: str, spec: str = "") -> Want:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: shop}, annotations: {note: 'a \"b\"'}}\n"
        f"spec:\n  containers: [{{name: main, image: web, {container}}}]\n{spec}"
    )
    found = objects(text)
    pod = found[Ref("Pod", "default", "web")]
    assert isinstance(pod, Pod)
    return resolve(pod, "uid-1", found.get, NODE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y$(A)z"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$A $", "$A $"),
        ("$(A", "$(A"),
        ("$$", "$"),
        ("$(A$(B))", "$(A$(B))"),  # a name ends with the first parenthesis, whatever is in it
    ],
)
def test_references(text: str, expected: str) -> None:
    assert expand_references(text, {"A": "1", "B": "$(A)"}) == expected


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("env: [{name: X, value: a}, {name: V, value: '$(X)b'}, {name: Z, value: '$(W)'}]",
         {"X": "a", "V": "ab", "Z": "$(W)"}),
        ("envFrom: [{prefix: P_, configMapRef: {name: conf}}], env: [{name: P_A, value: mine}]",
         {"P_A": "mine", "P_B": "two", "P_file.txt": "text"}),
        ("env: [{name: X, valueFrom: {configMapKeyRef: {name: conf, key: A}}}]", {"X": "one"}),
        ("env: [{name: X, valueFrom: {secretKeyRef: {name: keys, key: password}}}]", {"X": "hunter2"}),
        ("env: [{name: X, valueFrom: {configMapKeyRef: {name: none, key: A, optional: true}}}]", {}),
        ("env: [{name: X, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", {"X": "web"}),
        ("env: [{name: X, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]", {"X": "shop"}),
        ("env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: U, value: 'http://$(IP)/'}]",
         {"IP": POD_IP, "U": f"http://{POD_IP}/"}),
        ("env: [{name: X, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]", {"X": "2"}),
        ("env: [{name: X, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}], "
         "resources: {limits: {memory: 1500Ki}}", {"X": "2"}),
    ],
)  # fmt: skip
def test_environment(container: str, expected: dict[str, str]) -> None:
    assert dict(want(container).containers[0].config.env) == expected


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ("env: [{name: X, valueFrom: {configMapKeyRef: {name: none, key: A}}}]", 'configmap "none" not found'),
        ("env: [{name: X, valueFrom: {configMapKeyRef: {name: conf, key: Q}}}]",
         "couldn't find key Q in ConfigMap default/conf"),
        ("envFrom: [{secretRef: {name: none}}]", 'secret "none" not found'),
    ],
)  # fmt: skip
def test_what_is_absent_blocks_its_container(container: str, message: str) -> None:
    assert want(container).containers[0].blocked == Blocked("CreateContainerConfigError", message)


def test_command_and_args_see_the_environment() -> None:
    config = want("env: [{name: X, value: a}], command: ['$(X)'], args: ['$(X)$(X)', '$(Y)']").containers[0].config
    assert (config.command, config.args) == (("a",), ("aa", "$(Y)"))


def test_volumes_ports_and_mounts() -> None:
    wanted = want(
        "ports: [{containerPort: 80, hostPort: 8080}], volumeMounts: [{name: c, mountPath: /c, readOnly: true}]",
        """
  volumes:
  - {name: e, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: h, hostPath: {path: /srv, type: Directory}}
  - {name: c, configMap: {name: conf, items: [{key: A, path: a/b, mode: 0400}]}}
  - name: p
    projected:
      defaultMode: 0440
      sources:
      - secret: {name: keys}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
""",
    )
    assert wanted.blocked is None
    assert wanted.sandbox.ports == (Port(80, 8080),)
    assert wanted.sandbox.volumes == (
        EmptyDir("e", "Memory", 1 << 20),
        HostPath("h", "/srv", "Directory"),
        Files("c", (File("a/b", b"one", 0o400),)),
        Files("p", (File("labels", b'app="shop"', 0o440), File("password", b"hunter2", 0o440)), secret=True),
    )
    assert wanted.containers[0].config.mounts == (Mount("c", "/c", read_only=True),)
    assert wanted.containers[0].config.files_hash
    assert set(wanted.volume_hashes) == {"c", "p"}


def test_a_volume_that_cannot_be_made_blocks_the_sandbox() -> None:
    blocked = want("imagePullPolicy: Never", "  volumes: [{name: c, configMap: {name: none}}]\n").blocked
    assert blocked is not None
    assert blocked.reason == "FailedMount"
    assert 'configmap "none" not found' in blocked.message


def test_uses_names_every_source() -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: main, image: web, "
        "envFrom: [{secretRef: {name: keys}}]}]\n"
        "  volumes: [{name: c, projected: {sources: [{configMap: {name: conf}}]}}]\n"
    )
    pod = objects(text)[Ref("Pod", "default", "web")]
    assert isinstance(pod, Pod)
    assert uses(pod) == {Ref("Secret", "default", "keys"), Ref("ConfigMap", "default", "conf")}


def test_no_secret_shows_in_what_is_printed() -> None:
    wanted = want("env: [{name: X, valueFrom: {secretKeyRef: {name: keys, key: password}}}]")
    assert "hunter2" not in repr(wanted)
