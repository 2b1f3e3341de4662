"""What the verbs that talk to registries share: whose name it is, the user's own logins, and TLS."""

from __future__ import annotations

from typing import Any

import click

from reconciler.model.login import HUB, registry_of, render_logins, scope_of
from reconciler.model.reference import normalize

verify_tls = click.option(
    "--tls-verify",
    type=bool,
    default=True,
    metavar="BOOL",
    help="false: take plain HTTP, or any certificate. Registries on loopback may have either.",
)


def checked(name: str) -> str:
    """The normalized reference. Raises: click.UsageError."""
    try:
        return normalize(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def auths(reference: str) -> dict[str, Any]:
    """The logins of the user who runs the verb, which may be another than the daemon's, as the API takes them."""
    from reconciler.runtimes.native.images.docker_config import logins_of_machine

    return dict(render_logins(logins_of_machine(reference))["auths"])


def registry_named(text: str) -> str:
    """The host[:port] that the user means; docker.io without one. Raises: click.UsageError."""
    registry = scope_of(text) if text else HUB
    try:
        if registry_of(normalize(f"{registry}/name/name")) == registry:
            return registry
    except ValueError:
        pass
    raise click.UsageError(f"{text!r} is not a registry: expected HOST or HOST:PORT")
