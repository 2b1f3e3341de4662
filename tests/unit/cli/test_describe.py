"""Objects in full."""

from __future__ import annotations

import base64

import pytest

from reconciler.cli.description import describe

SECRET = "hunter2-do-not-show"


def section(text: str, heading: str) -> list[str]:
    """The lines below `heading:`, up to the next line that stands as far out."""
    lines = text.splitlines()
    start = lines.index(f"{heading}:")
    below = lines[start + 1 :]
    end = next((n for n, line in enumerate(below) if line and not line.startswith(" ")), len(below))
    return below[:end]


def field(text: str, key: str) -> str:
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith(f"{key}:"))


def test_a_crashing_pod_says_why(make) -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting"}}
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": make.born, "finishedAt": make.born}}
    status = make.container_status(
        ready=False, restarts=2, state=waiting, lastState=ended, containerID="reconciler://4f1c"
    )
    pod = make.pod("web-0", owner=("ReplicaSet", "web-5d"), containerStatuses=[status])
    pod["kind"] = "Pod"
    events = [
        make.event(
            "Pod/web-0", "BackOff", "Back-off 20s", type="Warning", count=3, lastTimestamp="1970-01-12T13:46:35Z"
        ),
        make.event("Pod/web-0", "Created", "Created container main"),
    ]
    text = describe(pod, events, make.now)
    assert field(text, "Status") == "CrashLoopBackOff"
    assert field(text, "Phase") == "Running"
    assert field(text, "Controlled By") == "ReplicaSet/web-5d"
    assert field(text, "Restart Count") == "2"
    assert field(text, "Exit Code") == "1"
    containers = section(text, "Containers")
    at = containers.index("    State:            Waiting")
    assert containers[at + 1].split() == ["Reason:", "CrashLoopBackOff"]
    assert containers[at + 1].startswith("      "), "it stands below its state"
    assert section(text, "Events")[1:] == [
        "  60s                Normal    Created   Created container main",
        "  5s (x3 over 60s)   Warning   BackOff   Back-off 20s",
    ]


def test_what_a_pod_is_made_of(make) -> None:
    pod = make.pod("web-0")
    pod["kind"] = "Pod"
    pod["spec"] = {
        "containers": [
            {
                "name": "main",
                "image": "web:1",
                "command": ["sh", "-c"],
                "args": ["echo\nhello"],
                "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
                "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token", "optional": True}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "S_"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
            }
        ],
        "volumes": [
            {"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "conf", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "api", "optional": True}},
            {"name": "host", "hostPath": {"path": "/srv", "type": "Directory"}},
        ],
    }
    text = describe(pod, [], make.now)
    assert field(text, "Ports") == "80/TCP (host 8080), 53/UDP"
    assert field(text, "Limits") == "cpu 500m, memory 64Mi"
    assert field(text, "Environment") == "all of ConfigMap settings, with the prefix 'S_'"
    for line in ("A: 1", "B: <key token of Secret api> (optional)", "C: <status.podIP>"):
        assert line in text
    assert field(text, "Mounts") == "/data from data (ro)"
    assert [line.split(":", 1)[1].strip() for line in section(text, "Volumes")] == [
        "emptyDir, in memory, at most 1Mi",
        "ConfigMap settings",
        "Secret api (optional)",
        "hostPath /srv Directory",
    ]
    assert field(text, "Events") == "<none>"


def test_a_secret_shows_sizes_and_no_value(make) -> None:
    encoded = base64.b64encode(SECRET.encode()).decode()
    secret = {"kind": "Secret", "type": "Opaque", "metadata": make.meta("api"), "data": {"token": encoded}}
    text = describe(secret, [], make.now)
    assert section(text, "Data") == ["  token:            19 bytes"]
    assert SECRET not in text
    assert encoded not in text


def test_a_config_map_shows_its_values(make) -> None:
    item = {
        "kind": "ConfigMap",
        "metadata": make.meta("c"),
        "data": {"a.conf": "x = 1\ny = 2\n"},
        "binaryData": {"blob": base64.b64encode(b"\0" * 5).decode()},
    }
    assert section(describe(item, [], make.now), "Data") == [
        "  a.conf: (12 bytes)",
        "  ----",
        "  x = 1",
        "  y = 2",
        "  blob: 5 bytes, binary",
    ]


def test_a_deployment(make) -> None:
    item = make.deployment("web", ready=1, conditions=[{"type": "Available", "status": "False", "reason": "Minimum"}])
    text = describe({"kind": "Deployment", **item}, [], make.now)
    assert field(text, "Selector") == "app=web"
    assert field(text, "Replicas") == "2 desired | 2 updated | 2 total | 1 available | 0 unavailable"
    assert field(text, "Rolling Update") == "25% max unavailable, 25% max surge"
    assert section(text, "Conditions")[1].split() == ["Available", "False", "Minimum", "<unknown>"]
    assert "  Containers:" in section(text, "Pod Template")


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "ReplicaSet", "ConfigMap", "Secret", "Namespace"])
def test_an_object_without_status_is_described_too(make, kind: str) -> None:
    item = make.deployment("web") if kind in ("Deployment", "ReplicaSet") else make.pod("web")
    item = {"kind": kind, **{key: value for key, value in item.items() if key != "status"}}
    assert describe(item, [], make.now).startswith("Name:             web\n")


def test_the_verb_asks_for_the_events_of_the_object(run, daemon, make) -> None:
    daemon.on("GET /api/v1/namespaces/default/pods/web-0", make.single("Pod", make.pod("web-0")))
    daemon.on(
        "GET /api/v1/namespaces/default/events", make.listing("Event", [make.event("Pod/web-0", "Started", "it runs")])
    )
    result = run("describe", "pod", "web-0")
    assert result.code == 0
    assert "it runs" in result.out
    assert daemon.requests[-1].query == {"fieldSelector": "involvedObject.kind=Pod,involvedObject.name=web-0"}
    assert run("describe", "pod", "nope").err == 'Error: pods "nope" not found\n'


def test_several_objects_have_an_empty_line_between_them(run, daemon, make) -> None:
    daemon.on("GET /api/v1/namespaces/default/pods", make.listing("Pod", [make.pod("a"), make.pod("b")]))
    daemon.on("GET /api/v1/namespaces/default/events", make.listing("Event", []))
    out = run("describe", "pods").out
    assert out.count("\n\n\nName:") == 1
