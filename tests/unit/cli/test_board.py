"""What the live table shows of the objects there are."""

from __future__ import annotations

import pytest

from reconciler.cli.board import Happening, arrange, choose, counts, entry, line, shorten, verdict
from reconciler.cli.watch import not_ready


def entries(make, *items):
    found = [entry(item) for item in items]
    return {of.key: of for of in found}


def of_kind(kind: str, item):
    return {"kind": kind, **item}


def replica_set(make, name: str, owner: str = "", *, ready: int = 1, wanted: int = 1):
    owners = [{"kind": "Deployment", "name": owner, "controller": True}] if owner else []
    return {
        "kind": "ReplicaSet",
        "metadata": make.meta(name, generation=1, ownerReferences=owners),
        "spec": {"replicas": wanted},
        "status": {"replicas": wanted, "readyReplicas": ready, "observedGeneration": 1},
    }


def test_a_pod_is_well_when_all_of_it_is_ready(make) -> None:
    up = entry(of_kind("Pod", make.pod("a")))
    assert (up.state, up.ready, up.restarts, up.born, up.well) == ("Running", "1/1", 0, make.now - 60, True)
    crashing = make.pod("b", containerStatuses=[make.container_status(ready=False, restarts=2)])
    down = entry(of_kind("Pod", crashing))
    assert (down.state, down.ready, down.restarts, down.well) == ("CrashLoopBackOff", "0/1", 2, False)
    unready = make.pod("c", containerStatuses=[make.container_status() | {"ready": False}])
    assert not entry(of_kind("Pod", unready)).well
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    done = make.pod("d", phase="Succeeded", containerStatuses=[make.container_status(ready=False, state=ended)])
    assert entry(of_kind("Pod", done)).well
    new = make.pod("e", phase="Pending", containerStatuses=[])
    assert not entry(of_kind("Pod", new)).well


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "Available"),
        ({"readyReplicas": 1}, "Progressing"),
        ({"updatedReplicas": 1}, "Progressing"),
        ({"replicas": 3}, "Progressing"),
        ({"observedGeneration": 0}, "Progressing"),
        ({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}, "ProgressDeadlineExceeded"),
    ],
)
def test_a_deployment_is_well_when_its_rollout_is_through(make, status, state: str) -> None:
    of = entry(of_kind("Deployment", make.deployment("web", **status)))
    assert (of.state, of.well) == (state, state == "Available")


def test_a_replica_set_of_its_own(make) -> None:
    assert entry(replica_set(make, "rs", ready=1, wanted=1)).well
    assert not entry(replica_set(make, "rs", ready=0, wanted=1)).well


def test_pods_stand_below_what_made_them(make) -> None:
    placed = arrange(
        entries(
            make,
            of_kind("Pod", make.pod("web-5d-2", owner=("ReplicaSet", "web-5d"))),
            of_kind("Pod", make.pod("alone")),
            of_kind("Pod", make.pod("own-1", owner=("ReplicaSet", "own"))),
            replica_set(make, "own"),
            replica_set(make, "web-5d", "web"),
            of_kind("Deployment", make.deployment("web")),
            of_kind("Pod", make.pod("web-5d-1", owner=("ReplicaSet", "web-5d"))),
            of_kind("Pod", make.pod("lost-1", owner=("ReplicaSet", "gone"))),
        )
    )
    assert [("  " * depth) + of.name for depth, of in placed] == [
        "alone",
        "lost-1",
        "own",
        "  own-1",
        "web",
        "  web-5d-1",
        "  web-5d-2",
    ]


def test_what_is_not_well_is_shown_when_not_all_fits(make) -> None:
    crashing = [make.container_status(ready=False)]
    items = [make.pod(f"p{n}", **({"containerStatuses": crashing} if n in (3, 7) else {})) for n in range(9)]
    placed = arrange(entries(make, *(of_kind("Pod", item) for item in items)))
    assert [of.name for _, of in choose(placed, 4)] == ["p0", "p1", "p3", "p7"]
    assert [of.name for _, of in choose(placed, 1)] == ["p3"]
    assert choose(placed, 9) == placed
    assert choose(placed, 0) == []


def test_a_line(make) -> None:
    of = entry(of_kind("Pod", make.pod("web-0", "shop")))
    last = Happening("BackOff", "Back-off 20s", True, make.now - 5)
    shown = line(0, of, last, make.now, namespaces=True)
    assert (shown.name, shown.age, shown.event, shown.warning) == (
        "pod/shop/web-0",
        "60s",
        "BackOff 5s ago: Back-off 20s",
        True,
    )
    assert line(0, of, None, make.now, namespaces=False).name == "pod/web-0"


@pytest.mark.parametrize(
    ("in_sync", "errors", "held_back", "words"),
    [
        (True, 0, False, "in sync"),
        (False, 0, False, "converging"),
        (False, 1, False, "1 problem"),
        (False, 2, False, "2 problems"),
        (False, 2, True, "removal held back"),
    ],
)
def test_verdict(in_sync: bool, errors: int, held_back: bool, words: str) -> None:
    assert verdict(in_sync=in_sync, errors=errors, held_back=held_back) == words


def test_counts(make) -> None:
    crashing = make.pod("b", containerStatuses=[make.container_status(ready=False)])
    all_of = entries(
        make,
        of_kind("Pod", make.pod("a")),
        of_kind("Pod", crashing),
        of_kind("Deployment", make.deployment("web")),
        replica_set(make, "web-5d", "web"),
    )
    assert counts(all_of.values()) == "1 deployment, 2 pods (1 well)"
    assert counts([]) == "nothing declared that runs"


def test_many_problems_are_counted() -> None:
    assert shorten(["a", "b"]) == ("a", "b")
    assert shorten("abcdef") == ("a", "b", "c", "d", "and 2 more: `reconciler validate` lists them")


def test_what_keeps_once_from_being_ready(make) -> None:
    crashing = entry(of_kind("Pod", make.pod("web-0", containerStatuses=[make.container_status(ready=False)])))
    assert not_ready([crashing], []) == "not ready: pod/web-0 CrashLoopBackOff 0/1"
    assert not_ready([crashing] * 7, ["a.yaml:1: x", "b"]) == (
        "not ready: " + ", ".join(["pod/web-0 CrashLoopBackOff 0/1"] * 5) + " and 2 more; "
        "not applied: a.yaml:1: x (and 1 more)"
    )
