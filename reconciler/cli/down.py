"""`reconciler down`: the end of what this instance runs, or of what some manifests declare."""

from __future__ import annotations

import os

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Containers get their grace period. A `reconciler watch` of the same folder would start them again:
end it first, or take the files away.
\b
Examples:
  reconciler down                    all that this instance runs
  reconciler down manifests/web      only what is declared there
"""
)
@click.argument("paths", nargs=-1, metavar="[PATH...]", type=click.Path(exists=True))
@click.option("--volumes", is_flag=True, help="Remove the data volumes, too.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
def command(session: Session, paths: tuple[str, ...], volumes: bool, quiet: bool) -> None:
    """Remove what this instance runs; with PATH only what is declared there."""
    order = {"paths": [os.path.abspath(path) for path in paths], "volumes": volumes}
    with session.client() as client:
        follow(client.stream("POST", f"{OWN}/down", order), "removing", quiet=quiet)
