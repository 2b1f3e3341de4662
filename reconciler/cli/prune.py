"""`reconciler prune`: images that nobody uses go, after a look at what that frees."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from reconciler.api.client import OWN, Client
from reconciler.cli.images import decimal_size, names, short_id
from reconciler.cli.session import Session, pass_session

Json = Mapping[str, Any]


@click.command(
    epilog="""\b
Without --all only dangling images go: those that have no name. What a container uses or a manifest names stays.
\b
Examples:
  reconciler prune                 dangling images
  reconciler prune -a --dry-run    see what all unused ones take
  reconciler prune -a -f           do not ask
"""
)
@click.option("-a", "--all", "every", is_flag=True, help="All unused images, not only dangling ones.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_session
def command(session: Session, every: bool, dry_run: bool, force: bool) -> None:
    """Remove unused images."""
    with session.client() as client:
        prune(client, {"all": every}, dry_run=dry_run, force=force)


def prune(client: Client, order: Json, *, dry_run: bool, force: bool) -> None:
    """Show what `order` (of POST images/prune) would remove, ask, and do it.

    Raises: click.UsageError where nobody can be asked, click.Abort when the answer is no.
    """
    if not (dry_run or force or sys.stdin.isatty()):
        raise click.UsageError("nobody is there to ask: say --force, or --dry-run to see what would go")
    if not force:
        (planned,) = client.stream("POST", f"{OWN}/images/prune", {**order, "dryRun": True})
        if not planned["images"] and not planned["buildCacheBytes"]:
            click.echo("nothing to remove")
            return
        _tell(planned, "would remove", "would free")
        if dry_run:
            return
        click.confirm("Remove it?", abort=True)
    (done,) = client.stream("POST", f"{OWN}/images/prune", order)  # a disk may take its time
    _tell(done, "removed", "freed")


def _tell(answer: Json, removes: str, frees: str) -> None:
    for image in answer["images"]:
        shown = ", ".join(f"{repository}:{tag}" for repository, tag in names(image))
        click.echo(f"{removes} {short_id(image, whole=False)} {shown}")
    if answer["buildCacheBytes"]:
        click.echo(f"{removes} the build cache, {decimal_size(answer['buildCacheBytes'])}")
    click.echo(f"{frees} {decimal_size(answer['freedBytes'] + answer['buildCacheBytes'])}")
