"""What workloads make: names, labels, owners, and that nothing else moves them."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.manifest.reader import Reader
from reconciler.model.kinds import Deployment, Object, Pod, ReplicaSet
from reconciler.model.meta import to_json
from reconciler.plan.expand import expand
from reconciler.plan.hashing import generated_name

MANIFEST = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: shop, labels: {{of: workload}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: {{note: one}}}}
    spec: {{containers: [{{name: main, image: "{image}"}}]}}
"""


def workload(kind: str = "Deployment", name: str = "web", replicas: int = 2, image: str = "web:1") -> Object:
    text = MANIFEST.format(kind=kind, name=name, replicas=replicas, image=image)
    (entry,) = Reader().read({"web.yaml": text.encode()}).objects.values()
    return entry.object


def replica_set(**more: Any) -> ReplicaSet:
    (made,) = expand(workload(**more), "uid-1")
    assert isinstance(made, ReplicaSet)
    return made


def names(owner: Object) -> list[str | None]:
    return [made.metadata.name for made in expand(owner, "uid")]


def test_a_deployment_makes_a_replica_set() -> None:
    made = to_json(replica_set())
    label = made["metadata"]["labels"].pop("pod-template-hash")
    assert made["metadata"] == {
        "name": f"web-{label}",
        "namespace": "shop",
        "labels": {"app": "web"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "web",
                "uid": "uid-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert made["spec"]["replicas"] == 2
    assert made["spec"]["selector"] == {"matchLabels": {"app": "web", "pod-template-hash": label}}
    assert made["spec"]["template"]["metadata"] == {
        "labels": {"app": "web", "pod-template-hash": label},
        "annotations": {"note": "one"},
    }


def test_a_replica_set_makes_pods() -> None:
    pods = expand(workload("ReplicaSet"), "uid-2")
    assert names(workload("ReplicaSet")) == ["web-97cqr", "web-78l68"]
    for pod in pods:
        assert isinstance(pod, Pod)
        shown = to_json(pod)
        assert shown["metadata"]["labels"] == {"app": "web"}
        assert shown["metadata"]["annotations"] == {"note": "one"}
        assert shown["metadata"]["namespace"] == "shop"
        assert [(o["kind"], o["name"], o["uid"]) for o in shown["metadata"]["ownerReferences"]] == [
            ("ReplicaSet", "web", "uid-2")
        ]
        assert shown["spec"]["containers"][0]["image"] == "web:1"


@pytest.mark.parametrize(
    ("change", "same"),
    [({"replicas": 5}, True), ({"image": "web:2"}, False)],
)
def test_only_the_template_makes_another_revision(change: dict[str, Any], same: bool) -> None:
    assert (replica_set(**change).metadata.name == replica_set().metadata.name) == same


def test_scaling_adds_and_takes_away_at_the_end() -> None:
    five = names(workload("ReplicaSet", replicas=5))
    assert names(workload("ReplicaSet", replicas=3)) == five[:3]
    assert names(workload("ReplicaSet", replicas=0)) == []


def test_names_are_of_their_owner_and_not_too_long() -> None:
    one, other = (names(workload("ReplicaSet", name=name)) for name in ("web", "web2"))
    assert not {n[-5:] for n in one if n} & {n[-5:] for n in other if n}
    long = names(workload("ReplicaSet", name="n" * 100, replicas=3))
    assert all(n is not None and len(n) == 63 for n in long)


def test_no_two_pods_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(set(names(workload("ReplicaSet", replicas=5000)))) == 5000
    short = "reconciler.plan.expand.generated_name"
    monkeypatch.setattr(short, lambda base, key: generated_name(base, key)[: len(base) + 2])
    few = names(workload("ReplicaSet", replicas=20))
    assert len(set(few)) == 20
    assert names(workload("ReplicaSet", replicas=10)) == few[:10]


def test_what_makes_nothing() -> None:
    assert expand(expand(workload("ReplicaSet"), "uid")[0], "uid") == ()
    assert isinstance(workload(), Deployment)
