"""`reconciler rmi`: names and images go."""

from __future__ import annotations

import click

from reconciler.api.client import OWN
from reconciler.cli.session import Session, pass_session
from reconciler.errors import ReconcilerError


@click.command(
    epilog="""\b
A name is taken away; with its last name the image goes, unless a container uses it.
\b
Examples:
  reconciler rmi web:1 web:2
  reconciler rmi 3f2a9c            by the beginning of its id
  reconciler rmi -f web:1          take the name of what is in use
"""
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="All names of an id; the name of what is in use.")
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, images: tuple[str, ...], force: bool) -> None:
    """Remove images."""
    failed = False
    with session.client() as client:
        for image in images:
            try:
                (answer,) = client.stream("DELETE", f"{OWN}/images", reference=image, force=force)  # may take a while
            except ReconcilerError as error:
                if len(images) == 1:
                    raise
                click.echo(f"Error: {error}", err=True)
                failed = True
            else:
                for line in answer["lines"]:
                    click.echo(line)
    if failed:
        ctx.exit(1)
