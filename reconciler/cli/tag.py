"""`reconciler tag`: another name for an image."""

from __future__ import annotations

import click

from reconciler.api.client import OWN
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler tag web:1 web:stable
  reconciler tag 3f2a9c registry.example:5000/team/web:1
"""
)
@click.argument("image", metavar="IMAGE")
@click.argument("name", metavar="NAME[:TAG]")
@pass_session
def command(session: Session, image: str, name: str) -> None:
    """Give IMAGE (a name, or the beginning of an id) another name."""
    with session.client() as client:
        client.request("POST", f"{OWN}/images/tag", {"image": image, "reference": name})
