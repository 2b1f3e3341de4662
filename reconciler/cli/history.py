"""`reconciler history`: the steps that made an image, in docker's table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from reconciler.api.client import OWN
from reconciler.cli.ages import parse_time, spoken_age
from reconciler.cli.images import decimal_size
from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.ps import SHORT_ID
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table

HEADERS = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
_SHOWN_CHARACTERS = 45


@click.command(
    epilog="""\b
Examples:
  reconciler history web:1
  reconciler history --no-trunc web:1
"""
)
@click.argument("image", metavar="IMAGE")
@click.option("--no-trunc", is_flag=True, help="Ids and steps in full.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@output_option("json", "yaml")
@pass_session
def command(session: Session, image: str, no_trunc: bool, quiet: bool, output: str | None) -> None:
    """Show the steps that made IMAGE, newest first."""
    with session.client() as client:
        steps: list[Mapping[str, Any]] = client.get(f"{OWN}/images/history", image=image)
    match output:
        case "json":
            text = render_json(steps)
        case "yaml":
            text = render_yaml(steps)
        case _ if quiet:
            text = "".join(f"{_id(step, whole=no_trunc)}\n" for step in steps)
        case _:
            table, now = Table(HEADERS, colour=colourful(), empty=True), time.time()
            text = table.render([cells(step, now, whole=no_trunc) for step in steps])
    click.echo(text, nl=False)


def cells(step: Mapping[str, Any], now: float, *, whole: bool) -> tuple[str, ...]:
    """One step under HEADERS."""
    made = parse_time(step["createdAt"])
    by = str(step["createdBy"])
    if not whole and len(by) > _SHOWN_CHARACTERS:
        by = by[: _SHOWN_CHARACTERS - 1] + "…"
    return (
        _id(step, whole=whole),
        f"{spoken_age(now - made)} ago" if made is not None else "N/A",
        by,
        decimal_size(step["sizeBytes"]),
        step["comment"],
    )


def _id(step: Mapping[str, Any], *, whole: bool) -> str:
    id = str(step["id"])
    return id if whole or id.startswith("<") else id.removeprefix("sha256:")[:SHORT_ID]
