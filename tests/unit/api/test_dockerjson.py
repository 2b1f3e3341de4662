"""docker's JSON of images and containers."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.api.dockerjson import containers_called, docker_container, docker_image, history
from reconciler.ports import Image, ImageDetail

NAMES = ("docker.io/library/web:1", "registry.example:5000/web:2", "docker.io/library/web@sha256:0")


def detail(config: dict[str, Any], *layers: int) -> ImageDetail:
    return ImageDetail(Image("sha256:aa", NAMES, "sha256:bb", 0.0, 10), config, layers)


def test_an_image() -> None:
    config = {
        "created": "2026-01-01T00:00:00Z",
        "architecture": "arm64",
        "variant": "v8",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["A=b"], "User": "web"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
        "history": [{"created_by": "x", "comment": "first"}, {"created_by": "y", "comment": "buildkit"}],
    }
    assert docker_image(detail(config, 100, 20)) == {
        "Id": "sha256:aa",
        "RepoTags": ["web:1", "registry.example:5000/web:2"],
        "RepoDigests": ["web@sha256:bb", "registry.example:5000/web@sha256:bb"],
        "Parent": "",
        "Comment": "buildkit",
        "Created": "2026-01-01T00:00:00Z",
        "Author": "",
        "Config": {"Cmd": ["sh"], "Env": ["A=b"], "User": "web"},
        "Architecture": "arm64",
        "Variant": "v8",
        "Os": "linux",
        "Size": 120,
        "RootFS": {"Type": "layers", "Layers": ["sha256:1", "sha256:2"]},
    }


def test_an_image_that_says_little() -> None:
    shown = docker_image(detail({"config": None, "rootfs": None, "history": None}))
    assert (shown["Created"], shown["Config"], shown["Size"]) == ("1970-01-01T00:00:00.000000Z", {}, 0)


def test_history_is_newest_first_and_only_layers_have_a_size() -> None:
    steps = [
        {"created": "2026-01-01T00:00:00Z", "created_by": "ADD root", "comment": "base"},
        {"created_by": "ENV A=b", "empty_layer": True},
        {"created_by": "COPY . /"},
    ]
    assert history(detail({"history": steps}, 100, 20)) == [
        {"id": "sha256:aa", "createdAt": "", "createdBy": "COPY . /", "sizeBytes": 20, "comment": ""},
        {"id": "<missing>", "createdAt": "", "createdBy": "ENV A=b", "sizeBytes": 0, "comment": ""},
        {
            "id": "<missing>",
            "createdAt": "2026-01-01T00:00:00Z",
            "createdBy": "ADD root",
            "sizeBytes": 100,
            "comment": "base",
        },
    ]


@pytest.mark.parametrize(
    ("steps", "layers", "sizes"),
    [
        pytest.param([], (7,), [7], id="layers without a history"),
        pytest.param([{}, {}], (7,), [0, 7], id="more steps than layers"),
        pytest.param([], (), [], id="nothing"),
    ],
)
def test_histories_that_do_not_fit(steps: list[Any], layers: tuple[int, ...], sizes: list[int]) -> None:
    assert [step["sizeBytes"] for step in history(detail({"history": steps}, *layers))] == sizes


def row(**more: Any) -> dict[str, Any]:
    plain = {
        "id": "abc123",
        "namespace": "default",
        "pod": "web-0",
        "name": "main",
        "image": "docker.io/library/web:1",
        "imageId": "sha256:aa",
        "state": "running",
        "attempt": 2,
        "createdAt": "2026-01-01T00:00:00Z",
        "addresses": ["10.88.0.2"],
        "ports": [
            {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"},
            {"containerPort": 80, "hostPort": 8081, "protocol": "TCP", "hostIP": "127.0.0.1"},
        ],
    }
    return plain | more


def test_a_container() -> None:
    shown = docker_container(row(pid=12, startedAt="2026-01-01T00:00:01Z"))
    assert shown["Name"] == "/default/web-0/main"
    assert shown["RestartCount"] == 2
    assert shown["Config"] == {"Image": "web:1"}
    assert shown["State"] == {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 12,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-01-01T00:00:01Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    held = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "8081"}]
    assert shown["NetworkSettings"] == {"IPAddress": "10.88.0.2", "Ports": {"80/tcp": held}}


def test_a_container_that_ended() -> None:
    state = docker_container(row(state="exited", exitCode=137, oomKilled=True, addresses=[], ports=[]))["State"]
    assert (state["Running"], state["ExitCode"], state["OOMKilled"]) == (False, 137, True)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("abc", ["abc123"]),
        ("web-0", ["abd999", "fff000"]),
        ("default/web-0", ["abd999", "fff000"]),
        ("web-0/main", ["abd999"]),
        ("default/web-0/main", ["abd999"]),
        ("main", []),
        ("other/web-0/main", []),
    ],
)
def test_names_of_containers(name: str, found: list[str]) -> None:
    rows = [row(), row(id="abd999", attempt=3), row(id="fff000", name="side")]
    assert [r["id"] for r in containers_called(rows, name)] == found
