"""`reconciler doctor`: whether this host is fit, and how to mend what is not."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table

HEADERS = ("CHECK", "STATUS", "FOUND", "MEND")


@click.command(
    epilog="""\b
Examples:
  sudo reconciler doctor
  reconciler doctor -o json | jq '.[] | select(.status != "ok")'
"""
)
@output_option("json", "yaml")
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, output: str | None) -> None:
    """Check whether this host is fit; ends with 1 when containers cannot run here."""
    from reconciler.runtimes.native.host import examine

    checks = [
        {"name": check.name, "status": str(check.verdict), "found": check.found, "mend": check.mend}
        for check in examine(Path(session.state_dir), Path(session.run_dir))
    ]
    match output:
        case "json":
            click.echo(render_json(checks), nl=False)
        case "yaml":
            click.echo(render_yaml(checks), nl=False)
        case _:
            table = Table(HEADERS, colour=colourful())
            click.echo(table.render(tuple(check.values()) for check in checks), nl=False)
    ctx.exit(1 if any(check["status"] == "failed" for check in checks) else 0)
