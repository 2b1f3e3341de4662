"""docker's own config.json, in $DOCKER_CONFIG or ~/.docker: what `docker login` and `reconciler login` share.

Passwords are in the file itself, or with a credential helper (docker-credential-NAME) that it
names. Source: github.com/docker/cli, cli/config; github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.errors import TerminalError, TransientError
from reconciler.model.login import HUB, Login, logins_in, registry_of, scope_of

_HUB_KEY = "https://index.docker.io/v1/"  # under which docker keeps the login of docker.io
_IDENTITY = "<token>"  # the user name a helper gives with an identity token
_HELPER_NAME = re.compile(r"[\w.-]+")
_HELPER_SECONDS = 30.0
_UNKNOWN = "credentials not found"


def config_path() -> Path:
    """Where the file is, whether it exists or not."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    return Path(folder) / "config.json"


def logins_of_machine(reference: str) -> tuple[Login, ...]:
    """All logins the file itself holds, and what a helper has for the registry of `reference`. Blocks.

    Raises: TransientError(reason="ErrImagePull") when the file or the helper is broken.
    """
    with _broken_as_pull_error():
        config = _read(config_path())
        registry = registry_of(reference)
        helped = _ask(helper, registry) if (helper := _helper(config, registry)) else None
        return (*((helped,) if helped else ()), *logins_in(config))


def keep_login(login: Login) -> str:
    """Remember a login, as `docker login` does. Returns: where (a path, or the helper's name). Blocks.

    Raises: TerminalError(reason="LoginNotKept").
    """
    path = config_path()
    with _broken_as_login_error(path):
        config = _read(path)
        key = _key(login.scope)
        if helper := _helper(config, login.scope):
            identity = {"Username": _IDENTITY, "Secret": login.identity_token}
            plain = {"Username": login.username, "Secret": login.password}
            _run(helper, "store", json.dumps({"ServerURL": key} | (identity if login.identity_token else plain)))
            _write(path, config | {"auths": {**_without(config, login.scope), key: {}}})
            return f"docker-credential-{helper}"
        _write(path, config | {"auths": {**_without(config, login.scope), key: login.to_json()}})
        return str(path)


def forget_login(registry: str) -> bool:
    """Forget the login of a registry. Returns: whether there was one. Blocks.

    Raises: TerminalError(reason="LoginNotKept").
    """
    path = config_path()
    with _broken_as_login_error(path):
        config = _read(path)
        kept = _without(config, registry)
        found = len(kept) < len(config.get("auths") or {})
        if (helper := _helper(config, registry)) and _ask(helper, registry) is not None:
            _run(helper, "erase", _key(registry))
            found = True
        if found:
            _write(path, config | {"auths": kept})
        return found


def _key(registry: str) -> str:
    return _HUB_KEY if registry == HUB else registry


def _without(config: dict[str, Any], registry: str) -> dict[str, Any]:
    return {key: entry for key, entry in (config.get("auths") or {}).items() if scope_of(key) != registry}


def _helper(config: dict[str, Any], registry: str) -> str:
    """The helper that has the login of a registry; "" for none."""
    by_registry = {scope_of(key): name for key, name in (config.get("credHelpers") or {}).items()}
    helper = by_registry.get(registry) or config.get("credsStore") or ""
    if helper and not (isinstance(helper, str) and _HELPER_NAME.fullmatch(helper)):
        raise ValueError(f"{str(helper)[:40]!r} is not the name of a credential helper")
    return helper


def _ask(helper: str, registry: str) -> Login | None:
    try:
        given = _run(helper, "get", _key(registry))
    except _Unknown:
        return None
    try:
        answer = json.loads(given)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"docker-credential-{helper} gave no login that can be read") from None
    if username == _IDENTITY:
        return Login(registry, identity_token=secret)
    return Login(registry, username, secret)


class _Unknown(Exception):
    """The helper has nothing for this registry."""


def _run(helper: str, verb: str, text: str) -> str:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
    except FileNotFoundError:
        raise ValueError(f"the credential helper {program} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"the credential helper {program} does not answer") from None
    if done.returncode != 0:
        if verb == "get" and _UNKNOWN in done.stdout:
            raise _Unknown
        # what a helper prints may hold what it was given: only the code is shown
        raise ValueError(f"the credential helper {program} failed to {verb} (exit code {done.returncode})")
    return done.stdout


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes() or b"{}")
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict) or any(
        not isinstance(value.get(name, {}) or {}, dict) for name in ("auths", "credHelpers")
    ):
        raise ValueError("it is not a config.json of docker's")
    return value


def _write(path: Path, config: dict[str, Any]) -> None:
    """Replace the file (or what it links to) at once; nobody but its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(config, file, indent="\t")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _broken_as_pull_error() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise TransientError(f"{config_path()}: {_words(error)}", reason="ErrImagePull") from None


@contextmanager
def _broken_as_login_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise TerminalError(f"{path}: {_words(error)}", reason="LoginNotKept") from None


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
