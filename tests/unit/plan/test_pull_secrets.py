"""imagePullSecrets: what they hold goes with the pull, is seen nowhere, and changes nothing that runs."""

from __future__ import annotations

import base64
import json

import pytest

from reconciler.manifest.reader import Reader
from reconciler.model.kinds import Pod
from reconciler.model.login import Login
from reconciler.model.ref import Ref
from reconciler.plan.environment import Node
from reconciler.plan.pods import Want, plan_pod
from reconciler.plan.resolve import resolve, uses
from reconciler.plan.steps import PullImage

NODE = Node("here", 2000, 8 << 30)


def secret(name: str, kind: str, key: str, content: str) -> str:
    data = {key: base64.b64encode(content.encode()).decode()}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data})


def auths(registry: str, password: str) -> str:
    return json.dumps({registry: {"auth": base64.b64encode(f"me:{password}".encode()).decode()}})


def want(*secrets: str, names: tuple[str, ...] = ("one",)) -> Want:
    spec = {"containers": [{"name": "main", "image": "r.example.com/web:1"}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {**spec, "imagePullSecrets": [{"name": name} for name in names]},
    }
    reading = Reader().read({"x.yaml": "\n---\n".join((json.dumps(pod), *secrets)).encode()})
    assert not reading.problems
    objects = {ref: entry.object for ref, entry in reading.objects.items()}
    declared = objects[Ref("Pod", "default", "web")]
    assert isinstance(declared, Pod)
    assert uses(declared) == {Ref("Secret", "default", name) for name in names}
    return resolve(declared, "uid-1", objects.get, NODE)


MODERN = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson")
OLD = ("kubernetes.io/dockercfg", ".dockercfg")


def test_they_go_with_the_pull() -> None:
    wanted = want(
        secret("one", *MODERN, f'{{"auths": {auths("r.example.com", "hunter2")}}}'),
        secret("two", *OLD, auths("old.example.com", "hunter3")),
        names=("one", "two"),
    )
    plan = plan_pod(wanted, None, now=0)
    (pull,) = (step.action for step in plan.steps if isinstance(step.action, PullImage))
    assert pull.logins == (Login("r.example.com", "me", "hunter2"), Login("old.example.com", "me", "hunter3"))
    assert "hunter" not in str(plan) + repr(plan) + repr(wanted)
    assert str(plan).splitlines()[0] == "[] -> #1 PullImage(image='r.example.com/web:1'), Absent"


def test_a_new_password_is_no_new_container() -> None:
    first, second = (
        want(secret("one", *MODERN, f'{{"auths": {auths("r.example.com", word)}}}')) for word in ("a", "b")
    )
    assert first.logins != second.logins
    assert first.sandbox_hash == second.sandbox_hash
    assert [c.spec_hash for c in first.containers] == [c.spec_hash for c in second.containers]


@pytest.mark.parametrize(
    "secrets",
    [
        pytest.param((), id="absent"),
        pytest.param((secret("one", "Opaque", "password", "hunter2"),), id="of another type"),
        pytest.param((secret("one", *MODERN, '{"auths": {"r": {"auth": "hunter2!"}}}'),), id="broken"),
    ],
)
def test_what_helps_nothing_is_passed_over(secrets: tuple[str, ...]) -> None:
    wanted = want(*secrets)
    assert wanted.logins == ()
    assert wanted.blocked is None and wanted.containers[0].blocked is None
