"""docker's config.json: found, read, and written so that docker still reads it and nobody else can."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.model.login import Login
from reconciler.runtimes.native.images.docker_config import (
    config_path,
    forget_login,
    keep_login,
    logins_of_machine,
)

HUB = "docker.io/library/nginx:latest"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker/config.json"


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path() == tmp_path / ".docker/config.json"
    monkeypatch.setenv("DOCKER_CONFIG", "/elsewhere")
    assert config_path() == Path("/elsewhere/config.json")


def test_a_login_to_docker_hub_has_dockers_key(path: Path) -> None:
    assert keep_login(Login("docker.io", "me", "word")) == str(path)
    assert json.loads(path.read_text()) == {"auths": {"https://index.docker.io/v1/": {"auth": "bWU6d29yZA=="}}}
    assert logins_of_machine(HUB) == (Login("docker.io", "me", "word"),)
    assert forget_login("docker.io")
    assert logins_of_machine(HUB) == ()
    assert not forget_login("docker.io")


def test_modes(path: Path) -> None:
    keep_login(Login("r.example.com", "me", "word"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_it_links_to_is_written(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "real.json")
    keep_login(Login("r.example.com", "me", "word"))
    assert path.is_symlink() and "r.example.com" in (tmp_path / "real.json").read_text()


def test_a_new_login_takes_the_place_of_the_old_one_however_it_was_written(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"auths": {"https://r.example.com/v2/": {"auth": "eDp4"}, "other.example.com": {"auth": "eTp5"}}}')
    keep_login(Login("r.example.com", "me", "word"))
    assert list(json.loads(path.read_text())["auths"]) == ["other.example.com", "r.example.com"]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"auths": ["x"]}', '{"credHelpers": "x"}', '{"credsStore": "../../bin/x"}']
)
def test_a_broken_file_is_told_and_kept(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(TransientError, match=r"config\.json: ") as pulling:
        logins_of_machine(HUB)
    assert pulling.value.reason == "ErrImagePull"
    for change in (lambda: keep_login(Login("docker.io", "me", "word")), lambda: forget_login("docker.io")):
        with pytest.raises(TerminalError, match=r"config\.json: ") as caught:
            change()
        assert caught.value.reason == "LoginNotKept"
    assert path.read_text() == content
