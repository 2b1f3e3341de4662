"""`reconciler push`: an image of the store to a registry."""

from __future__ import annotations

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.registry import auths, checked, verify_tls
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler build -t registry.example.com/team/web:1.4 .
  reconciler push registry.example.com/team/web:1.4
"""
)
@click.argument("name", metavar="NAME[:TAG]")
@verify_tls
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
def command(session: Session, name: str, tls_verify: bool, quiet: bool) -> None:
    """Send an image to the registry that its name says. Layers that are there already are not sent again."""
    reference = checked(name)
    order = {"reference": reference, "verifyTls": tls_verify, "auths": auths(reference)}
    with session.client() as client:
        follow(client.stream("POST", f"{OWN}/images/push", order), f"pushing {name}", quiet=quiet)
