"""Plans of whole manifests: tests/cases/plan/*.yaml, each a list of cases.

case: a sentence
manifests: what is declared, as a user writes it
observed: pods by name: {sandbox: {...}, containers: [{name: main, state: running, ...}]}; all but `name` and
    `state` have defaults, and `spec_hash: =` (the default) is what the manifests ask for
images: references in the store besides web:1
now: seconds
plan: the text of all plans, with `web/0` for the first sandbox of the pod web and `web/0/main/0` for its
    first container, and hashes left out
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.control.diff import render_plans
from reconciler.manifest.reader import Reader
from reconciler.model.kinds import Object, Pod
from reconciler.model.observed import Observed, SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.model.reference import normalize
from reconciler.plan import hashing
from reconciler.plan.check import check
from reconciler.plan.environment import Node
from reconciler.plan.expand import expand
from reconciler.plan.forecast import forecast
from reconciler.plan.pods import Want
from reconciler.plan.resolve import resolve

NODE = Node("here", 2000, 1 << 30)
FOLDER = Path(__file__).parents[2] / "cases" / "plan"


def load() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            yield pytest.param(case, id=f"{file.stem}: {case['case']}")


def uid(ref: Ref) -> str:
    return f"uid of {ref}"


def declared(text: str) -> dict[Ref, Object]:
    reading = Reader().read({"case.yaml": text.encode()})
    assert not [p for p in reading.problems if p.severity == "error"], reading.problems
    return {ref: entry.object for ref, entry in reading.objects.items()}


def wants(objects: dict[Ref, Object]) -> dict[Ref, Want]:
    every, todo = dict(objects), list(objects.values())
    while todo:
        owner = todo.pop()
        for made in expand(owner, "uid"):
            every[Ref(made.kind, made.metadata.namespace or "", made.metadata.name or "")] = made
            todo.append(made)
    return {ref: resolve(obj, uid(ref), every.get, NODE) for ref, obj in every.items() if isinstance(obj, Pod)}


def seen_pod(ref: Ref, shown: dict[str, Any], want: Want | None) -> SeenPod:
    hashes = {c.config.name: c.spec_hash for c in (*want.init_containers, *want.containers)} if want else {}
    fields = {"id": hashing.sandbox_id(ref, 0), "spec_hash": "=", **(shown.get("sandbox") or {})}
    if fields["spec_hash"] == "=":
        fields["spec_hash"] = want.sandbox_hash if want else ""
    volumes = dict(want.volume_hashes) if want else {}
    sandbox = None if shown.get("sandbox", {}) is None else SeenSandbox(**{"volume_hashes": volumes, **fields})
    containers = []
    for one in shown.get("containers", ()):
        attempt = one.get("attempt", 0)
        identity = hashing.container_id(fields["id"], one["name"], attempt)
        filled = {"id": identity, "sandbox_id": fields["id"], "spec_hash": "=", **one, "state": State(one["state"])}
        if filled["spec_hash"] == "=":
            filled["spec_hash"] = hashes.get(one["name"], "")
        containers.append(SeenContainer(**filled))
    return SeenPod(ref, sandbox, tuple(containers))


def readable(text: str, pods: set[Ref]) -> str:
    """Derived ids as what they are derived from, and no hashes."""
    for ref in pods:
        for attempt in range(3):
            sandbox = hashing.sandbox_id(ref, attempt)
            text = text.replace(sandbox, f"{ref.name}/{attempt}")
            for name in ("main", "side", "init"):
                for again in range(4):
                    made = hashing.container_id(sandbox, name, again)
                    text = text.replace(made, f"{ref.name}/{attempt}/{name}/{again}")
    return re.sub(r"(, )?(spec|volume)_hash='v1:[0-9a-f]+'", "", text)


@pytest.mark.parametrize("case", list(load()))
def test_plan(case: dict[str, Any]) -> None:
    objects = declared(case.get("manifests", ""))
    wanted = wants(objects)
    refs = {name: Ref("Pod", "default", name) for name in case.get("observed", {})}
    pods = {ref: seen_pod(ref, case["observed"][name], wanted.get(ref)) for name, ref in refs.items()}
    images = {normalize(image): f"sha256:{image}" for image in ("web:1", *case.get("images", ()))}
    plans = forecast(objects, Observed(pods, images), uid=uid, node=NODE, now=case.get("now", 0))
    for ref, plan in plans:
        check(plan, wanted.get(ref), pods.get(ref))
    text = readable(render_plans(plans), {*pods, *wanted})
    assert text == case["plan"].rstrip("\n")
