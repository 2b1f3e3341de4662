"""Verbs that make the daemon do something: what they send, what they show, how they end."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from reconciler.cli.images import decimal_size, names, rows

OWN = "/apis/reconciler.io/v1alpha1"
DONE = {"done": True}


def test_build_sends_absolute_paths(run, daemon, make, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FROM_HERE", "yes")
    monkeypatch.delenv("NOT_HERE", raising=False)
    daemon.on(f"POST {OWN}/images/build", make.lines([{"line": "STEP 1"}, DONE]))
    arguments = ("--build-arg", "A=1=2", "--build-arg", "FROM_HERE", "--build-arg", "NOT_HERE")
    (tmp_path / "token.txt").write_text("x")
    more = ("-t", "web:2", "--secret", "id=token,src=token.txt")
    result = run("build", "-t", "web:1", "-f", "Containerfile", *arguments, *more, "--no-cache", "app")
    assert (result.code, result.out) == (0, "STEP 1\n")
    assert daemon.requests[-1].body == {
        "context": str(tmp_path / "app"),
        "reference": "web:1",
        "also": ["web:2"],
        "dockerfile": str(tmp_path / "Containerfile"),
        "target": "",
        "buildArgs": {"A": "1=2", "FROM_HERE": "yes"},
        "secrets": {"token": str(tmp_path / "token.txt")},
        "noCache": True,
    }


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("token", "expected id=ID,src=FILE"),
        ("id=token", "expected id=ID,src=FILE"),
        ("src=/x", "expected id=ID,src=FILE"),
        ("id=token,env=TOKEN", "expected id=ID,src=FILE"),
        ("id=token,type=env,src=/x", "expected id=ID,src=FILE"),
        ("id=token,src=/nothing", "token: there is no file /nothing"),
    ],
)
def test_a_secret_that_is_none(run, tmp_path: Path, secret: str, words: str) -> None:
    result = run("build", "-t", "web:1", "--secret", secret, str(tmp_path))
    assert result.code == 2
    assert words in result.err


def test_an_image_needs_a_name(run, tmp_path: Path) -> None:
    result = run("build", str(tmp_path))
    assert result.code == 2
    assert "the image needs a name" in result.err


def test_check_says_what_could_be_better_and_builds_nothing(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM web:latest\nCOPY . /app\nUSER 1\n")
    result = run("build", "--check", ".")
    assert result.code == 0
    assert result.out.splitlines() == [
        "Dockerfile:1: DL3007: warning: web:latest is another image tomorrow: name a version",
        "Dockerfile:2: NoDockerignore: warning: COPY takes all of the directory and there is no .dockerignore: "
        ".git, keys and build output end up in the image, and any change runs this step again",
    ]
    (tmp_path / ".dockerignore").touch()
    (tmp_path / "Dockerfile").write_text("FROM web:1\nCOPY . /app\nUSER 1\n")
    result = run("build", "--check", ".")
    assert (result.code, result.out, result.err) == (0, "", "Dockerfile: no problems\n")


def test_check_of_a_syntax_error_exits_1(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Containerfile").write_text("FROM web:1\nRUM x\n")
    result = run("build", "--check", ".")
    assert (result.code, result.out) == (1, "Containerfile:2: RUM is no instruction; did you mean RUN?\n")
    (tmp_path / "Containerfile").unlink()
    result = run("build", "--check", ".")
    assert result.code == 1
    assert "has no Dockerfile or Containerfile" in result.err


def test_a_build_that_fails_shows_its_lines_and_exits_1(run, daemon, make, tmp_path: Path) -> None:
    failed = {"error": {"kind": "Status", "code": 500, "reason": "BuildFailed", "message": "RUN false: exit status 1"}}
    daemon.on(f"POST {OWN}/images/build", make.lines([{"line": "STEP 1"}, failed]))
    result = run("build", "-t", "web:1", str(tmp_path))
    assert (result.code, result.out, result.err) == (1, "STEP 1\n", "Error: RUN false: exit status 1\n")


def test_pull_and_push_bring_the_logins_of_whoever_runs_them(
    run, daemon, make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"auths": {"https://r.example.com/v2/": {"auth": "bWU6d29yZA=="}}}')
    progress = {"progress": {"doneBytes": 1, "totalBytes": 2}}
    for verb in ("pull", "push"):
        daemon.on(f"POST {OWN}/images/{verb}", make.lines([progress, {"line": "one"}, DONE]))
    auths = {"r.example.com": {"auth": "bWU6d29yZA=="}}
    assert run("pull", "--platform", "linux/arm64", "web").out == "one\n"
    name = "docker.io/library/web:latest"
    asked = {"reference": name, "platform": "linux/arm64", "verifyTls": True, "auths": auths}
    assert daemon.requests[-1].body == asked
    assert run("push", "--tls-verify=false", "-q", "r.example.com/web:1").out == ""
    assert daemon.requests[-1].body == {"reference": "r.example.com/web:1", "verifyTls": False, "auths": auths}
    assert run("pull", "UPPER").code == 2


def test_quiet_is_quiet(run, daemon, make, tmp_path: Path) -> None:
    daemon.on(f"POST {OWN}/images/build", make.lines([{"line": "STEP 1"}, DONE]))
    assert run("build", "-q", "-t", "web:1", str(tmp_path)).out == ""


def test_load_from_a_file_and_from_a_pipe(run, daemon, make, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "web.tar").write_bytes(b"archive")
    daemon.on(f"POST {OWN}/images/load", make.lines([{"line": "loaded web:1"}, DONE]))
    assert run("load", "-i", str(tmp_path / "web.tar"), "-t", "web:1").out == "loaded web:1\n"
    assert daemon.requests[-1].body == {"archive": str(tmp_path / "web.tar"), "reference": "web:1"}

    taken: list[bytes] = []

    def take(request):
        taken.append(Path(request.body["archive"]).read_bytes())
        return make.lines([DONE])

    daemon.on(f"POST {OWN}/images/load", take)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    assert run("load").code == 0
    assert taken == [b"piped"]
    assert not os.path.exists(daemon.requests[-1].body["archive"])


def test_import(run, daemon, make, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(b"")
    daemon.on(f"POST {OWN}/images/import", make.lines([DONE]))
    assert run("import", str(tmp_path / "root.tar"), "debian:local").code == 0
    assert daemon.requests[-1].body == {"archive": str(tmp_path / "root.tar"), "reference": "debian:local"}
    assert run("import", str(tmp_path / "nope.tar"), "debian:local").code == 2


def test_down_of_all_and_of_a_path(run, daemon, make, tmp_path: Path) -> None:
    daemon.on(f"POST {OWN}/down", make.lines([{"line": "removed Pod/default/web-0"}, DONE]))
    assert run("down").out == "removed Pod/default/web-0\n"
    assert daemon.requests[-1].body == {"paths": [], "volumes": False}
    run("down", str(tmp_path), "--volumes")
    assert daemon.requests[-1].body == {"paths": [str(tmp_path)], "volumes": True}


CHANGES = [
    {"change": "create", "object": "Pod/default/new", "file": "a.yaml", "line": 3, "fields": []},
    {
        "change": "update",
        "object": "Deployment/default/web",
        "file": "web.yaml",
        "line": 1,
        "fields": [
            {"path": "spec.replicas", "from": 1, "to": 3},
            {"path": "spec.paused", "from": None, "to": True},
            {"path": "metadata.labels.app", "from": "a", "to": None},
        ],
    },
    {"change": "remove", "object": "ConfigMap/default/old", "file": "", "line": 0, "fields": []},
]


def test_diff_shows_fields_and_the_plan_and_exits_1(run, daemon, tmp_path: Path) -> None:
    daemon.on(
        f"POST {OWN}/diff", {"changes": CHANGES, "plan": "Pod/default/new\n[] -> #1 PullImage(image='x'), Absent"}
    )
    result = run("diff", str(tmp_path))
    assert result.code == 1
    assert result.out == (
        "+ Pod/default/new  (a.yaml:3)\n"
        "~ Deployment/default/web  (web.yaml:1)\n"
        "    spec.replicas: 1 -> 3\n"
        "    spec.paused: (none) -> true\n"
        "    metadata.labels.app: a -> (none)\n"
        "- ConfigMap/default/old\n"
        "\n"
        "plan:\n"
        "  Pod/default/new\n"
        "  [] -> #1 PullImage(image='x'), Absent\n"
    )


def test_no_difference_is_silent_success(run, daemon, tmp_path: Path) -> None:
    daemon.on(f"POST {OWN}/diff", {"changes": [], "plan": ""})
    result = run("diff", str(tmp_path))
    assert (result.code, result.out, result.err) == (0, "", "")


def test_diff_of_what_is_invalid_lists_the_problems(run, daemon, make, tmp_path: Path) -> None:
    daemon.on(f"POST {OWN}/diff", make.failure(422, "InvalidManifest", "a.yaml:1: kind: Field required\nb.yaml:2: x"))
    result = run("diff", str(tmp_path))
    assert (result.code, result.err) == (1, "Error: a.yaml:1: kind: Field required\nb.yaml:2: x\n")


IMAGE = {
    "id": "sha256:0123456789abcdef",
    "references": ["docker.io/library/web:2", "registry.example:5000/team/web:latest"],
    "digest": "sha256:ffff",
    "createdAt": "1970-01-12T13:44:40.000000Z",
    "sizeBytes": 4_261_550,
    "platform": "linux/amd64",
}


def test_images_as_docker_lists_them(run, daemon, now) -> None:
    dangling = IMAGE | {"id": "sha256:eeee", "references": [], "createdAt": "1970-01-12T13:45:40.000000Z"}
    daemon.on(f"GET {OWN}/images", [IMAGE, dangling])
    assert run("images").out == (
        "REPOSITORY                       TAG      IMAGE ID       CREATED              SIZE\n"
        "<none>                           <none>   eeee           About a minute ago   4.26MB\n"
        "registry.example:5000/team/web   latest   0123456789ab   2 minutes ago        4.26MB\n"
        "web                              2        0123456789ab   2 minutes ago        4.26MB\n"
    )
    assert run("images", "-q").out == "eeee\n0123456789ab\n"
    assert len(run("images", "web").out.splitlines()) == 2
    assert len(run("images", "web:3").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker.io/library/web:2", ("web", "2")),
        ("localhost:5000/web:latest", ("localhost:5000/web", "latest")),
        ("docker.io/library/web@sha256:ffff", ("web", "<none>")),
    ],
)
def test_names_of_images(reference: str, name: tuple[str, str]) -> None:
    assert names(IMAGE | {"references": [reference]}) == [name]


def test_digests_have_a_column() -> None:
    assert next(rows(IMAGE, 0.0, digests=True))[2] == "sha256:ffff"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (4_261_550, "4.26MB"),
        (187_000_000, "187MB"),
        (999_999_999, "1GB"),
        (5 * 10**15, "5000TB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert decimal_size(size_bytes) == text
