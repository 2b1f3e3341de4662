"""Containers in docker's table."""

from __future__ import annotations

from typing import Any

import click
import pytest

from reconciler.cli.ps import cells, full_name, parse_filters, short_image, status

CONTAINERS = "GET /apis/reconciler.io/v1alpha1/containers"
NOW = 1_000_000.0  # 1970-01-12T13:46:40Z


def row(**more: Any) -> dict[str, Any]:
    return {
        "id": "4f1c9d3e8a7b6c5d4e3f",
        "sandboxId": "s1",
        "namespace": "default",
        "pod": "web-0",
        "name": "nginx",
        "image": "docker.io/library/nginx:1.27",
        "imageId": "sha256:abc",
        "state": "running",
        "attempt": 0,
        "createdAt": "1970-01-12T13:41:40.000000Z",
        "startedAt": "1970-01-12T13:43:40.000000Z",
        "addresses": ["10.0.0.2"],
        "ports": [],
    } | more


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "Up 3 minutes"),
        ({"state": "paused"}, "Up 3 minutes (Paused)"),
        ({"state": "exited", "exitCode": 137, "finishedAt": "1970-01-12T13:46:30Z"}, "Exited (137) 10 seconds ago"),
        ({"state": "exited", "exitCode": 0}, "Exited (0)"),
        ({"state": "created", "startedAt": None}, "Created"),
        ({"state": "broken", "fault": "its network namespace is gone"}, "Broken: its network namespace is gone"),
    ],
)
def test_status_is_dockers(more: dict[str, Any], text: str) -> None:
    assert status(row(**more), NOW) == text


def test_a_row() -> None:
    ports = [
        {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"},
        {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.1"},
    ]
    assert cells(row(ports=ports), NOW) == (
        "4f1c9d3e8a7b",
        "nginx:1.27",
        "5 minutes ago",
        "Up 3 minutes",
        "0.0.0.0:8080->80/tcp, 127.0.0.1:5353->53/udp",
        "web-0/nginx",
    )


def test_names_are_what_logs_takes() -> None:
    assert full_name(row()) == "web-0/nginx"
    assert full_name(row(namespace="shop")) == "shop/web-0/nginx"


@pytest.mark.parametrize(
    ("reference", "short"),
    [
        ("docker.io/library/nginx:latest", "nginx"),
        ("docker.io/grafana/grafana:11", "grafana/grafana:11"),
        ("localhost/web:1", "localhost/web:1"),
        ("registry.example/library/x:latest", "registry.example/library/x"),
    ],
)
def test_short_images(reference: str, short: str) -> None:
    assert short_image(reference) == short


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ((), True),
        (("name=web",), True),
        (("name=db",), False),
        (("name=db", "name=web"), True),
        (("name=web", "status=exited"), False),
        (("status=running", "id=4f1c"), True),
        (("id=f1c",), False),
        (("ancestor=nginx:1.27",), True),
        (("ancestor=docker.io/library/nginx:1.27",), True),
        (("ancestor=nginx",), False),
        (("exited=0",), False),
        (("pod=web-0", "namespace=default"), True),
    ],
)
def test_filters(filters: tuple[str, ...], fits: bool) -> None:
    assert parse_filters(filters)(row()) is fits


def test_an_unknown_filter_lists_those_there_are() -> None:
    with pytest.raises(click.UsageError, match=r"colour=red.*ancestor="):
        parse_filters(("colour=red",))


def test_only_what_runs_without_a(run, daemon) -> None:
    gone = row(id="dead00000000", pod="job-0", state="exited", exitCode=0, createdAt="1970-01-12T13:45:00Z")
    daemon.on(CONTAINERS, [row(), gone])
    shown = run("ps")
    assert shown.code == 0
    assert shown.out.splitlines()[0].split("   ")[0] == "CONTAINER ID"
    assert [line.split()[-1] for line in shown.out.splitlines()[1:]] == ["web-0/nginx"]
    assert run("ps", "-aq").out == "dead00000000\n4f1c9d3e8a7b\n"
    assert run("ps", "-q", "--filter", "status=exited").out == "dead00000000\n"
    assert run("ps", "--no-trunc", "-q").out == "4f1c9d3e8a7b6c5d4e3f\n"
    assert run("ps", "-a", "-o", "name").out == "job-0/nginx\nweb-0/nginx\n"


def test_none_is_a_heading_and_success(run, daemon) -> None:
    daemon.on(CONTAINERS, [])
    assert run("ps").out == "CONTAINER ID   IMAGE   CREATED   STATUS   PORTS   NAMES\n"
