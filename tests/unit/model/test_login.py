"""Logins: read from docker's config.json, chosen by kubelet's rules, and never shown."""

from __future__ import annotations

import base64
import json

import pytest

from reconciler.model.login import Login, choose_logins, parse_logins, render_logins, scope_of


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("key", "scope"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://registry.example.com", "registry.example.com"),
        ("http://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
        ("registry.example.com/team/", "registry.example.com/team"),
        ("*.example.com", "*.example.com"),
    ],
)
def test_keys_of_auths(key: str, scope: str) -> None:
    assert scope_of(key) == scope


def test_what_a_config_holds() -> None:
    config = {
        "auths": {
            "a.example.com": {"auth": auth("me:with:colons")},
            "b.example.com": {"username": "you", "password": "word"},
            "https://index.docker.io/v1/": {"auth": auth("hub:\0"), "identitytoken": "token"},
            "helped.example.com": {},
        },
        "credsStore": "desktop",
    }
    assert parse_logins(json.dumps(config)) == (
        Login("a.example.com", "me", "with:colons"),
        Login("b.example.com", "you", "word"),
        Login("docker.io", "hub", "", "token"),
    )
    assert parse_logins(json.dumps({"old.example.com": {"auth": auth("u:p"), "email": "x"}})) == (
        Login("old.example.com", "u", "p"),
    ), ".dockercfg"
    assert parse_logins('{"credsStore": "desktop"}') == ()
    assert parse_logins('{"auths": null}') == ()


@pytest.mark.parametrize(
    "content", ["secret", "[1]", '{"auths": "secret"}', '{"auths": {"r": {"auth": "secret!"}}}', "[" * 100_000]
)
def test_what_is_broken_is_not_shown(content: str) -> None:
    with pytest.raises(ValueError, match="is not") as caught:
        parse_logins(content)
    assert "secret" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    assert repr(Login("r.example.com", "me", "secret", "token")) == "Login(scope='r.example.com')"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("docker.io/library/nginx:latest", ["docker.io"]),
        ("r.example.com/web:1", ["r.example.com", "*.example.com"]),
        ("r.example.com/team/web:1", ["r.example.com/team", "r.example.com", "*.example.com"]),
        ("r.example.com/team@sha256:0", ["r.example.com/team", "r.example.com", "*.example.com"]),
        ("r.example.com/team:1", ["r.example.com/team", "r.example.com", "*.example.com"]),
        ("r.example.com/teams/web:1", ["r.example.com", "*.example.com"]),
        ("other.example.com/web:1", ["*.example.com"]),
        ("a.b.example.com/web:1", []),
        ("r.example.com:5000/web:1", ["r.example.com:5000"]),
        ("example.com/web:1", []),
    ],
)
def test_which_logins_count(reference: str, expected: list[str]) -> None:
    scopes = ("*.example.com", "r.example.com", "docker.io", "r.example.com:5000", "r.example.com/team")
    assert [login.scope for login in choose_logins(map(Login, scopes), reference)] == expected


def test_several_for_one_registry_keep_their_order_and_none_comes_twice() -> None:
    first, second = Login("r.example.com", "a", "1"), Login("r.example.com", "b", "2")
    assert choose_logins([first, second, first], "r.example.com/web:1") == (first, second)


def test_rendered_and_read_again() -> None:
    logins = (Login("a.example.com", "me", "word"), Login("docker.io", "", "", "token"))
    assert parse_logins(json.dumps(render_logins((*logins, Login("a.example.com", "later", "x"))))) == logins
