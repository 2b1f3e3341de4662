"""`reconciler logout`: the login to a registry is forgotten."""

from __future__ import annotations

import click

from reconciler.cli.registry import registry_named


@click.command(
    epilog="""\b
Examples:
  reconciler logout                          docker.io
  reconciler logout registry.example.com
"""
)
@click.argument("server", default="", metavar="[REGISTRY]")
def command(server: str) -> None:
    """Forget the login to a registry (docker.io), here and in docker."""
    from reconciler.runtimes.native.images.docker_config import forget_login

    registry = registry_named(server)
    known = forget_login(registry)
    click.echo(f"logged out of {registry}" if known else f"not logged in to {registry}")
