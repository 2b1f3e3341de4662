"""Tables: what `kubectl get` and `reconciler get` print."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.api.resources import RESOURCES
from reconciler.api.tables import age, human_duration, render_table

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()
META = {"name": "x", "namespace": "default", "creationTimestamp": "2026-11-23T11:00:00Z"}
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}
SELECTOR = {
    "matchLabels": {"b": "2", "a": "1"},
    "matchExpressions": [
        {"key": "k", "operator": "In", "values": ["z", "y"]},
        {"key": "n", "operator": "DoesNotExist"},
        {"key": "e", "operator": "Exists"},
    ],
}
EVENT = {
    "metadata": META,
    "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"},
    "type": "Warning",
    "reason": "BackOff",
    "message": " again \n",
    "count": 4,
    "firstTimestamp": "2026-11-23T11:50:00Z",
    "lastTimestamp": "2026-11-23T11:59:30Z",
    "source": {"component": "reconciler"},
}


def cells(kind: str, item: dict[str, Any]) -> list[Any]:
    (row,) = render_table(kind, [item], now=NOW, list_metadata={})["rows"]
    return row["cells"]


@pytest.mark.parametrize(
    ("kind", "item", "expected"),
    [
        (
            "Deployment",
            {
                "metadata": META,
                "spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
            },
            ["x", "1/3", 2, 1, "60m", "a,b", "i:1,j:2", "a=1,b=2,e,k in (y,z),!n"],
        ),
        (
            "ReplicaSet",
            {"metadata": META, "spec": {"replicas": 0, "template": TEMPLATE}},
            ["x", 0, 0, 0, "60m", "a,b", "i:1,j:2", "<none>"],
        ),
        ("ConfigMap", {"metadata": META, "data": {"a": ""}, "binaryData": {"b": ""}}, ["x", 2, "60m"]),
        ("Secret", {"metadata": META, "type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, "60m"]),
        ("Namespace", {"metadata": META}, ["x", "Active", "60m"]),
        (
            "Event",
            EVENT,
            ["30s", "Warning", "BackOff", "pod/web", "spec.containers{a}", "reconciler", "again", "10m", 4, "x"],
        ),
        (
            "Pod",
            {
                "metadata": META,
                "spec": {"containers": [{"name": "a"}]},
                "status": {
                    "phase": "Running",
                    "podIP": "10.88.0.9",
                    "containerStatuses": [
                        {
                            "name": "a",
                            "ready": True,
                            "restartCount": 2,
                            "state": {"running": {}},
                            "lastState": {"terminated": {"finishedAt": "2026-11-23T11:55:00Z"}},
                        }
                    ],
                },
            },
            ["x", "1/1", "Running", "2 (5m ago)", "60m", "10.88.0.9", "<none>", "<none>", "<none>"],
        ),
    ],
)
def test_rows(kind: str, item: dict[str, Any], expected: list[Any]) -> None:
    assert cells(kind, item) == expected


@pytest.mark.parametrize("kind", [resource.kind for resource in RESOURCES])
def test_every_kind_has_columns_with_words(kind: str) -> None:
    columns = render_table(kind, [], now=NOW, list_metadata={})["columnDefinitions"]
    assert columns and all(column["name"] and column["description"].endswith(".") for column in columns)


@pytest.mark.parametrize(
    ("include", "object"),
    [
        ("None", None),
        ("Metadata", {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": META}),
        ("Object", {"metadata": META}),
    ],
)
def test_what_a_row_carries_of_its_object(include: str, object: Any) -> None:
    table = render_table("Namespace", [{"metadata": META}], now=NOW, list_metadata={}, include=include)
    assert table["rows"][0]["object"] == object


# Source: apimachinery/pkg/util/duration, TestHumanDuration
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-0.5, "0s"), (0, "0s"), (1.9, "1s"), (119, "119s"), (120, "2m"), (121, "2m1s"),
        (599, "9m59s"), (600, "10m"), (659, "10m"), (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28740, "7h59m"),
        (28800, "8h"), (172799, "47h"), (172800, "2d"), (176400, "2d1h"), (691199, "7d23h"), (691200, "8d"),
        (86400 * 729, "729d"), (86400 * 730, "2y"), (86400 * 731, "2y1d"), (86400 * 365 * 8, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_age_of_what_has_no_time() -> None:
    assert age(None, NOW) == "<unknown>"
    assert age("2026-11-23T11:59:00.500000Z", NOW) == "59s"
