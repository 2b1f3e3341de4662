"""`reconciler inspect`: images and containers in docker's JSON."""

from __future__ import annotations

from typing import Any

import click

from reconciler.api.client import OWN
from reconciler.cli.output import output_option, render_yaml
from reconciler.cli.session import Session, pass_session
from reconciler.errors import ReconcilerError


@click.command(
    epilog="""\b
NAME is a container (pod/container, a pod, the beginning of an id) or an image.
\b
Examples:
  reconciler inspect web:1
  reconciler inspect web-0/main --type container
  reconciler inspect web:1 | jq '.[0].Config.Env'
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--type", "kind", type=click.Choice(["container", "image"]), help="Only look for these.")
@output_option("json", "yaml")
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, names: tuple[str, ...], kind: str | None, output: str | None) -> None:
    """Show all there is to know of images and containers."""
    found: list[Any] = []
    missing: list[ReconcilerError] = []
    with session.client() as client:
        for name in names:
            try:
                found += client.get(f"{OWN}/inspect", name=name, type=kind)
            except ReconcilerError as error:
                missing.append(error)
    click.echo(render_yaml(found) if output == "yaml" else _in_docker_s_order(found), nl=False)
    for absent in missing:
        click.echo(f"Error: {absent}", err=True)
    if missing:
        ctx.exit(1)


def _in_docker_s_order(found: list[Any]) -> str:
    import json

    return json.dumps(found, indent=4, ensure_ascii=False) + "\n"
