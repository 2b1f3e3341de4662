"""What a set of manifests would lead to."""

from __future__ import annotations

from reconciler.control.diff import render_plans
from reconciler.manifest.reader import Reader
from reconciler.model.observed import Observed, SeenPod, SeenSandbox
from reconciler.model.ref import Ref
from reconciler.plan.environment import Node
from reconciler.plan.forecast import forecast
from reconciler.plan.steps import CreateContainer, Plan

POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}}}\nspec: {{containers: [{{name: main, image: 'web:{}'}}]}}\n"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
"""
IMAGES = {"docker.io/library/web:1": "sha256:1", "docker.io/library/web:2": "sha256:2"}


def plans(*texts: str, observed: Observed | None = None) -> dict[str, Plan]:
    reading = Reader().read({f"{n}.yaml": text.encode() for n, text in enumerate(texts)})
    found = forecast(
        {ref: entry.object for ref, entry in reading.objects.items()},
        observed or Observed(images=IMAGES),
        uid=lambda ref: f"uid-{ref}",
        node=Node("here", 2000, 1 << 30),
        now=0,
    )
    assert [ref for ref, _ in found] == sorted(ref for ref, _ in found)
    return {ref.name: plan for ref, plan in found}


def images(plan: Plan) -> list[str]:
    return [s.action.config.image for s in plan.steps if isinstance(s.action, CreateContainer)]


def test_pods_and_what_workloads_make() -> None:
    found = plans(DEPLOYMENT, POD.format("one", 1))
    assert len(found) == 3
    assert all(str(plan).count("CreateContainer") == 1 for plan in found.values())


def test_what_runs_and_does_not_follow_is_taken_down() -> None:
    old = Ref("Pod", "default", "old")
    observed = Observed({old: SeenPod(old, SeenSandbox("s0", "h"))}, IMAGES)
    assert str(plans(observed=observed)["old"]) == "[] -> #1 RemoveSandbox(id='s0'), Undeclared"


def test_nothing_to_do_is_left_out() -> None:
    assert plans("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n") == {}


def test_what_is_declared_keeps_its_name_from_a_workload() -> None:
    name = next(iter(plans(DEPLOYMENT)))
    for order in ([DEPLOYMENT, POD.format(name, 2)], [POD.format(name, 2), DEPLOYMENT]):
        assert images(plans(*order)[name]) == ["docker.io/library/web:2"]


def test_it_is_shown_a_paragraph_a_pod() -> None:
    text = render_plans([(Ref("Pod", "default", "a"), Plan()), (Ref("Pod", "default", "b"), Plan(wake_at=5))])
    assert text == "Pod/default/a\nnothing to do\nPod/default/b\nnothing to do\nagain at 5"
