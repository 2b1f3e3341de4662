"""The verbs for images that are there: what they send, what they show, how they end."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from reconciler.cli.images import parse_filters

OWN = "/apis/reconciler.io/v1alpha1"
DONE = {"done": True}


def image(*names: str, id: str = "0123456789abcdef") -> dict[str, Any]:
    return {
        "id": f"sha256:{id}",
        "references": list(names),
        "digest": "sha256:ffff",
        "createdAt": "1970-01-12T13:44:40.000000Z",
        "sizeBytes": 1000,
        "platform": "linux/amd64",
    }


WEB, TEAM, LOST = image("docker.io/library/web:1"), image("registry.example/team/web:2"), image(id="fedc")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param((), ["web", "registry.example/team/web", "<none>"], id="all"),
        pytest.param(("-a",), ["web", "registry.example/team/web", "<none>"], id="-a"),
        pytest.param(("web",), ["web"], id="a repository"),
        pytest.param(("docker.io/library/web:1",), ["web"], id="a name in full"),
        pytest.param(("web:2",), [], id="another tag"),
        pytest.param(("registry.example/*/web:*",), ["registry.example/team/web"], id="a pattern"),
        pytest.param(("registry.example/*",), [], id="* stands for no slash"),
        pytest.param(("-f", "dangling=true"), ["<none>"], id="dangling"),
        pytest.param(("--filter", "dangling=false"), ["web", "registry.example/team/web"], id="not dangling"),
        pytest.param(("-f", "dangling=false", "-f", "reference=we*"), ["web"], id="both"),
    ],
)
def test_which_images(run, daemon, now, arguments: tuple[str, ...], found: list[str]) -> None:
    daemon.on(f"GET {OWN}/images", [WEB, TEAM, LOST])
    lines = run("images", *arguments).out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == found


@pytest.mark.parametrize("text", ["dangling", "dangling=1", "label=a", "reference="])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(click.UsageError, match="there are dangling=true"):
        parse_filters([text])


def test_tag(run, daemon) -> None:
    daemon.on(f"POST {OWN}/images/tag", {})
    assert run("tag", "web:1", "web:stable").code == 0
    assert daemon.requests[-1].body == {"image": "web:1", "reference": "web:stable"}
    assert run("tag", "web:1").code == 2


def test_rmi(run, daemon) -> None:
    daemon.on(f"DELETE {OWN}/images", {"lines": ["untagged web:1", "deleted sha256:aa"]})
    result = run("rmi", "-f", "web:1")
    assert (result.code, result.out) == (0, "untagged web:1\ndeleted sha256:aa\n")
    assert daemon.requests[-1].query == {"reference": "web:1", "force": "true"}


def test_rmi_of_several_goes_on_after_one_that_is_in_use(run, daemon, make) -> None:
    def answer(request):
        if request.query["reference"] == "web:1":
            return make.failure(409, "ImageInUse", "image web:1 is in use by pod x")
        return {"lines": ["untagged api:1"]}

    daemon.on(f"DELETE {OWN}/images", answer)
    result = run("rmi", "web:1", "api:1")
    assert (result.code, result.out, result.err) == (1, "untagged api:1\n", "Error: image web:1 is in use by pod x\n")
    assert run("rmi", "web:1").err == "Error: image web:1 is in use by pod x\n"


def test_inspect_prints_what_is_there_and_says_what_is_not(run, daemon, make) -> None:
    def answer(request):
        if request.query["name"] == "none":
            return make.failure(404, "NotFound", "there is no container or image 'none'")
        return [{"Id": request.query["name"], "Config": {"A": 1}}]

    daemon.on(f"GET {OWN}/inspect", answer)
    result = run("inspect", "web:1", "none", "api:1")
    assert result.code == 1
    assert [entry["Id"] for entry in json.loads(result.out)] == ["web:1", "api:1"]
    assert result.err == "Error: there is no container or image 'none'\n"
    assert json.loads(run("inspect", "none").out) == []
    run("inspect", "--type", "image", "web:1")
    assert daemon.requests[-1].query == {"name": "web:1", "type": "image"}
    assert run("inspect", "-o", "yaml", "web:1").out.startswith("- Config:")


STEPS = [
    {"id": "sha256:0123456789abcdef", "createdAt": "1970-01-12T13:44:40Z", "createdBy": "x" * 60, "sizeBytes": 1500},
    {"id": "<missing>", "createdAt": "", "createdBy": "ENV A=b", "sizeBytes": 0},
]


def test_history_as_docker_shows_it(run, daemon, now) -> None:
    daemon.on(f"GET {OWN}/images/history", [step | {"comment": ""} for step in STEPS])
    assert run("history", "web:1").out == (
        "IMAGE          CREATED         CREATED BY                                      SIZE    COMMENT\n"
        f"0123456789ab   2 minutes ago   {'x' * 44}…   1.5kB\n"
        "<missing>      N/A             ENV A=b                                         0B\n"
    )
    assert "x" * 60 in run("history", "--no-trunc", "web:1").out
    assert run("history", "-q", "web:1").out == "0123456789ab\n<missing>\n"
    assert daemon.requests[-1].query == {"image": "web:1"}


def test_save_into_a_file(run, daemon, make, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon.on(f"POST {OWN}/images/save", make.lines([{"line": "saved web:1"}, DONE]))
    assert run("save", "-o", "web.tar", "--format", "oci", "web:1", "api:1").out == "saved web:1\n"
    assert daemon.requests[-1].body == {
        "images": ["web:1", "api:1"],
        "archive": str(tmp_path / "web.tar"),
        "form": "oci",
    }


def test_save_into_a_pipe_is_the_archive_and_nothing_else(run, daemon, make) -> None:
    def answer(request):
        Path(request.body["archive"]).write_bytes(b"archive")
        return make.lines([{"line": "saved web:1"}, DONE])

    daemon.on(f"POST {OWN}/images/save", answer)
    assert run("save", "web:1").out == "archive"
    assert not Path(daemon.requests[-1].body["archive"]).exists()


def test_save_onto_a_terminal_is_refused(run, daemon, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    result = run("save", "web:1")
    assert (result.code, daemon.requests) == (2, [])
    assert "nothing for a terminal" in result.err


PLANNED = {
    "images": [{"id": "sha256:0123456789abcdef", "references": ["docker.io/library/web:1"]}],
    "freedBytes": 1_500_000,
    "buildCacheBytes": 0,
}
TOLD = "would remove 0123456789ab web:1\nwould free 1.5MB\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_prune_only_says_what_would_go(run, daemon) -> None:
    daemon.on(f"POST {OWN}/images/prune", PLANNED)
    assert run("prune", "-a", "--dry-run").out == TOLD
    assert [request.body for request in daemon.requests] == [{"all": True, "dryRun": True}]


@pytest.mark.parametrize(
    ("typed", "code", "sent"),
    [("y\n", 0, [{"all": False, "dryRun": True}, {"all": False}]), ("n\n", 130, [{"all": False, "dryRun": True}])],
)
def test_prune_asks_on_a_terminal(run, daemon, monkeypatch, typed: str, code: int, sent: list[Any]) -> None:
    daemon.on(f"POST {OWN}/images/prune", PLANNED)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    result = run("prune")
    assert result.code == code
    assert result.out.startswith(TOLD)
    assert ("removed 0123456789ab web:1\nfreed 1.5MB\n" in result.out) == (code == 0)
    assert [request.body for request in daemon.requests] == sent


def test_prune_without_a_terminal_needs_to_be_told(run, daemon, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    result = run("prune")
    assert (result.code, daemon.requests) == (2, [])
    assert "--force" in result.err
    daemon.on(f"POST {OWN}/images/prune", PLANNED)
    assert run("prune", "-f").out == "removed 0123456789ab web:1\nfreed 1.5MB\n"
    assert [request.body for request in daemon.requests] == [{"all": False}]


def test_prune_of_nothing(run, daemon) -> None:
    daemon.on(f"POST {OWN}/images/prune", {"images": [], "freedBytes": 0, "buildCacheBytes": 0})
    assert run("prune", "--dry-run").out == "nothing to remove\n"


def test_system_prune_takes_the_build_cache_too(run, daemon) -> None:
    daemon.on(f"POST {OWN}/images/prune", PLANNED | {"buildCacheBytes": 500_000})
    assert run("system", "prune", "-f").out == (
        "removed 0123456789ab web:1\nremoved the build cache, 500kB\nfreed 2MB\n"
    )
    assert daemon.requests[-1].body == {"all": False, "buildCache": True}


def test_system_df(run, daemon) -> None:
    rows = [
        {"type": "Images", "total": 2, "active": 1, "sizeBytes": 4000, "reclaimableBytes": 1000},
        {"type": "Build Cache", "total": 0, "active": 0, "sizeBytes": 0, "reclaimableBytes": 0},
    ]
    daemon.on(f"GET {OWN}/system/df", rows)
    assert run("system", "df").out == (
        "TYPE          TOTAL   ACTIVE   SIZE   RECLAIMABLE\n"
        "Images        2       1        4kB    1kB (25%)\n"
        "Build Cache   0       0        0B     0B\n"
    )
    assert json.loads(run("system", "df", "-o", "json").out) == rows


def test_system_info(run, daemon) -> None:
    facts = {
        "version": "0.1.0",
        "name": "here",
        "instance": "0123abcd",
        "pods": 2,
        "containers": {"total": 3, "running": 2, "exited": 1},
        "images": 4,
        "storageDriver": "overlay",
        "ociRuntime": "crun",
        "cgroupVersion": "v2",
        "podCidr": "10.88.0.0/16",
        "kernel": "6.1",
        "operatingSystem": "Debian",
        "architecture": "x86_64",
        "cpus": 2,
        "memoryBytes": 8 << 30,
        "stateDir": "/s",
        "runDir": "/r",
        "watches": [],
    }
    daemon.on(f"GET {OWN}/system/info", facts)
    lines = run("system", "info").out.splitlines()
    assert "Containers: 3 (2 running, 1 exited)" in lines
    assert "Total Memory: 8GiB" in lines
    assert "Watches: nothing" in lines
    assert json.loads(run("system", "info", "-o", "json").out) == facts


def test_global_options_stand_after_the_verb_of_a_group_too(run, daemon, tmp_path: Path) -> None:
    daemon.on(f"GET {OWN}/system/df", [])
    assert run("system", "df", "--run-dir", str(tmp_path / "run")).code == 0
    assert run("system", "--run-dir", str(tmp_path / "run"), "df").code == 0
