"""`reconciler import`: a root filesystem tarball becomes an image."""

from __future__ import annotations

import os

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler import rootfs.tar debian:local
"""
)
@click.argument("archive", metavar="TARBALL", type=click.Path(exists=True, dir_okay=False))
@click.argument("reference", metavar="NAME[:TAG]")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
def command(session: Session, archive: str, reference: str, quiet: bool) -> None:
    """Make a one-layer image of a root filesystem tarball."""
    order = {"archive": os.path.abspath(archive), "reference": reference}
    with session.client() as client:
        follow(client.stream("POST", f"{OWN}/images/import", order), f"importing {reference}", quiet=quiet)
