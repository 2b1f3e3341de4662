"""`reconciler diff`: what applying manifests would change, by field, and the plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from reconciler.api.client import OWN
from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.session import Session, colourful, pass_session

Json = Mapping[str, Any]
_MARKS = {"create": ("+", "green"), "update": ("~", "yellow"), "remove": ("-", "red")}


@click.command(
    epilog="""\b
The exit code is 0 when nothing would change, and 1 when something would.
\b
Examples:
  reconciler diff manifests/
  reconciler diff web.yaml -o json
"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True))
@output_option("json", "yaml")
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, paths: tuple[str, ...], output: str | None) -> None:
    """Show what applying the manifests in PATH would change."""
    with session.client() as client:
        answer = client.request("POST", f"{OWN}/diff", {"paths": [os.path.abspath(path) for path in paths]})
    match output:
        case "json":
            text = render_json(answer)
        case "yaml":
            text = render_yaml(answer)
        case _:
            text = render_diff(answer, colour=colourful())
    click.echo(text, nl=False)
    ctx.exit(1 if answer["changes"] else 0)


def render_diff(answer: Json, *, colour: bool) -> str:
    """A line for each object, one for each field of it, and the plan; "" when nothing changes."""
    lines: list[str] = []

    def line(text: str, paint: str | None) -> None:
        lines.append(click.style(text, fg=paint) if colour and paint else text)

    for change in answer["changes"]:
        mark, paint = _MARKS[change["change"]]
        where = f"  ({change['file']}:{change['line']})" if change.get("file") else ""
        line(f"{mark} {change['object']}{where}", paint)
        for field in change.get("fields") or ():
            line(f"    {field['path']}: {_value(field, 'from')} -> {_value(field, 'to')}", None)
    if lines and answer.get("plan"):
        lines += ["", "plan:", *(f"  {text}" for text in str(answer["plan"]).splitlines())]
    return "".join(text + "\n" for text in lines)


def _value(field: Json, side: str) -> str:
    """As one writes it; nothing at all is `(none)`."""
    import json

    value = field.get(side)
    return "(none)" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
