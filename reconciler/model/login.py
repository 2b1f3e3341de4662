"""Who we are to a registry: what docker's config.json and Secrets for pulling images hold.

The format is docker's: {"auths": {"<registry>[/<path>]": {"auth": base64 of "user:password"}}}. Nothing here
ever shows a password: not in a repr, not in an error.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

HUB = "docker.io"
_HUB_NAMES = {HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_SCHEME = re.compile(r"^https?://")
_API = re.compile(r"/v[12]/?$")


@dataclass(frozen=True, slots=True)
class Login:
    """One login. `scope` is a registry's host[:port], with a path when it counts for a part of it only;
    parts of the host may be patterns (`*.example.com`). An identity token takes the place of the password."""

    scope: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def to_json(self) -> dict[str, str]:
        """An entry of `auths`."""
        auth = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"auth": auth, **({"identitytoken": self.identity_token} if self.identity_token else {})}


def scope_of(key: str) -> str:
    """What a key of `auths` is about: without a scheme or the path of an API, docker.io by that name."""
    scope = _API.sub("", _SCHEME.sub("", key.strip())).rstrip("/")
    host, slash, path = scope.partition("/")
    return (HUB if host in _HUB_NAMES else host) + slash + path


def registry_of(reference: str) -> str:
    """The host[:port] of a normalized reference."""
    return reference.partition("/")[0]


def parse_logins(content: str | bytes) -> tuple[Login, ...]:
    """The logins in a config.json of docker (or its predecessor .dockercfg), in its order. Entries
    without any (their password is with a credential helper) are left out.

    Raises: ValueError, a sentence that holds nothing of the content.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    return logins_in(value)


def logins_in(value: object) -> tuple[Login, ...]:
    """The same of parsed JSON. Raises: ValueError."""
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    entries = value.get("auths", {} if "credsStore" in value or "credHelpers" in value else value) or {}
    if not isinstance(entries, dict):
        raise ValueError("auths is not an object")
    found = (_login(scope_of(key), entry) for key, entry in entries.items() if isinstance(entry, dict))
    return tuple(login for login in found if login.username or login.password or login.identity_token)


def choose_logins(logins: Iterable[Login], reference: str) -> tuple[Login, ...]:
    """Those that count for a normalized reference, the closest first. Source: kubelet's rules
    (pkg/credentialprovider/keyring.go): as many parts of a host as the pattern has, a prefix of the path."""
    repository = reference.partition("@")[0]
    chosen = {login: None for login in logins if _covers(login.scope, repository)}
    return tuple(sorted(chosen, key=lambda login: (-login.scope.count("/"), -len(login.scope), "*" in login.scope)))


def render_logins(logins: Iterable[Login]) -> Mapping[str, Any]:
    """A config.json with these; the first of several for a scope counts."""
    auths: dict[str, dict[str, str]] = {}
    for login in logins:
        auths.setdefault(login.scope, login.to_json())
    return {"auths": auths}


def _login(scope: str, entry: Mapping[str, Any]) -> Login:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError(f"the auth of {scope} is not base64 of user:password") from None
    # docker pads what it writes with NUL
    return Login(scope, str(username), str(password).rstrip("\0"), str(entry.get("identitytoken") or ""))


def _covers(scope: str, repository: str) -> bool:
    host, _, path = scope.partition("/")
    wanted, _, within = repository.partition("/")
    host, _, port = host.partition(":")
    wanted, _, wanted_port = wanted.partition(":")
    parts, wanted_parts = host.split("."), wanted.split(".")
    return (
        port == wanted_port
        and len(parts) == len(wanted_parts)
        and all(fnmatchcase(each, part) for each, part in zip(wanted_parts, parts, strict=True))
        and (not path or within == path or within.startswith((f"{path}/", f"{path}:")))
    )
