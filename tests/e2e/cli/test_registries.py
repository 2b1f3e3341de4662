"""pull, push, login and logout as a user types them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.faulty import in_front_of, slow
from tests.e2e.instance import PROGRAM, Instance
from tests.e2e.registry import PASSWORD, USER, Registry, serving
from tests.images import busybox_archive


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("guarded"), guarded=True) as registry:
        yield registry


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docker's config.json, where there is none yet. Used before `one`, the daemon sees it too."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker/config.json"


def login(one: Instance, host: str, password: str = PASSWORD) -> tuple[int, str]:
    done = one.run("login", "-u", USER, "--password-stdin", host, input=f"{password}\n")
    assert password not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_login_is_kept_as_docker_keeps_it(config: Path, guarded: Registry, tmp_path: Path) -> None:
    one = Instance(tmp_path)  # needs no daemon, and starts none
    config.parent.mkdir()
    config.write_text('{"psFormat": "table"}')
    config.chmod(0o644)
    code, said = login(one, guarded.host, "wrong-word")
    assert (code, said) == (1, f"Error: logging in to {guarded.host}: wrong user name or password\n")
    assert json.loads(config.read_text()) == {"psFormat": "table"}

    code, said = login(one, f"https://{guarded.host}/v2/")
    assert code == 0 and f"logged in to {guarded.host} as {USER}" in said and "unencrypted" in said
    kept = json.loads(config.read_text())
    assert kept["psFormat"] == "table" and list(kept["auths"]) == [guarded.host]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]

    assert one.cli("logout", guarded.host) == f"logged out of {guarded.host}\n"
    assert json.loads(config.read_text())["auths"] == {}
    assert one.cli("logout", guarded.host) == f"not logged in to {guarded.host}\n"


def test_a_login_is_kept_with_the_helper(
    config: Path, one: Instance, guarded: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, helper = tmp_path / "kept", tmp_path / "bin/docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(
        f"#!/bin/sh\ncase $1 in store) cat > {kept};; get) cat {kept} 2>/dev/null || "
        f"{{ echo credentials not found in native keychain; exit 1; }};; erase) rm {kept};; esac\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    config.parent.mkdir()
    config.write_text('{"credsStore": "test"}')
    assert login(one, guarded.host)[0] == 0
    assert json.loads(kept.read_text()) == {"ServerURL": guarded.host, "Username": USER, "Secret": PASSWORD}
    assert json.loads(config.read_text()) == {"credsStore": "test", "auths": {guarded.host: {}}}
    guarded.push(busybox_archive(tmp_path / "a.tar"), "helped:1")
    assert "pulled" in one.cli("pull", f"{guarded.host}/helped:1")
    assert one.cli("logout", guarded.host) == f"logged out of {guarded.host}\n"
    assert not kept.exists()
    assert one.run("pull", f"{guarded.host}/helped:1").returncode == 1


def test_push_pull_and_what_they_say(config: Path, one: Instance, guarded: Registry, tmp_path: Path) -> None:
    name = f"{guarded.host}/team/app:1"
    one.load(busybox_archive(tmp_path / "a.tar", name, files={"app": b"1"}))
    refused = one.run("push", name)
    assert (refused.returncode, refused.stdout.count("\n")) == (1, 1)
    hint = f"(try `reconciler login {guarded.host}`)"
    assert refused.stderr == f"Error: pushing '{name}': not logged in, or no such image {hint}\n"
    login(one, guarded.host)
    assert f"pushed {name} in " in one.cli("push", name)
    assert one.cli("push", "-q", name) == ""

    again = one.cli("pull", name)
    assert "fetched" not in again and f"pulled {name} in " in again
    assert "it was up to date" in one.cli("pull", name)
    for arguments, code, said in (
        (("pull", "UPPER"), 2, "must be lower case"),
        (("pull", f"{guarded.host}/team/app:2"), 1, "no such image"),
        (("pull", "--platform", "linux/arm64", name), 1, "the image is for linux/amd64, not for linux/arm64"),
        (("pull", "--platform", "a/b/c/d", name), 1, "is not a platform"),
        (("push", "nothing:1"), 1, "is not in the store"),
        (("login", "-u", USER, "a/b"), 2, "is not a registry"),
        (("login", "-u", USER), 2, "--password-stdin"),
        (("logout", "HOST/x"), 2, "is not a registry"),
    ):
        done = one.run(*arguments)
        assert (done.returncode, done.stdout.strip("\n").count("\n")) == (code, 0), arguments
        assert said in done.stderr and "Traceback" not in done.stderr, arguments
    assert PASSWORD not in one.log.read_text()


def on_a_terminal(one: Instance, *arguments: str, typed: tuple[tuple[str, str], ...] = ()) -> str:
    """Run a verb on a terminal of its own, answering what it asks; returns all that was to be seen."""
    ours, theirs = pty.openpty()
    program = [PROGRAM, "--state-dir", str(one.state_dir), "--run-dir", str(one.run_dir), *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen, answers = b"", list(typed)
    with contextlib.suppress(OSError):  # the other side is closed: the program has ended
        while piece := os.read(ours, 65536):
            seen += piece
            if answers and answers[0][0].encode() in seen:
                os.write(ours, answers.pop(0)[1].encode())
    os.close(ours)
    assert process.wait(timeout=20) == 0, seen
    return seen.decode(errors="replace")


def test_on_a_terminal_there_is_a_bar_and_a_password_is_not_shown(
    config: Path, one: Instance, guarded: Registry, tmp_path: Path
) -> None:
    typed = (("Username for ", f"{USER}\n"), ("Password: ", f"{PASSWORD}\n"))
    asked = on_a_terminal(one, "login", guarded.host, typed=typed)
    assert f"logged in to {guarded.host} as {USER}" in asked and PASSWORD not in asked
    with serving(tmp_path / "plain") as plain:
        plain.push(busybox_archive(tmp_path / "a.tar"), "bar:1")
        with in_front_of(plain) as faulty:
            faulty.on("/blobs/", slow(1_500_000))
            shown = on_a_terminal(one, "pull", f"{faulty.host}/bar:1")
    assert "━━━" in shown and "/1.1 MB" in shown
    assert f"pulled {faulty.host}/bar:1 in " in shown
