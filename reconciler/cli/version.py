"""`reconciler version`: of this program and of the daemon it would talk to."""

from __future__ import annotations

import platform

import click

from reconciler import __version__
from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.session import Session, daemon_answers, pass_session
from reconciler.errors import ReconcilerError


@click.command(
    epilog="""\b
Examples:
  reconciler version
  reconciler version -o json
"""
)
@output_option("json", "yaml")
@pass_session
def command(session: Session, output: str | None) -> None:
    """Show the version, and the daemon's when one runs."""
    versions = {"client": __version__, "daemon": _daemon_version(session), "python": platform.python_version()}
    match output:
        case "json":
            click.echo(render_json(versions), nl=False)
        case "yaml":
            click.echo(render_yaml(versions), nl=False)
        case _:
            click.echo(f"reconciler {versions['client']} (Python {versions['python']})")
            click.echo(f"daemon {versions['daemon'] or f'none on {session.socket}'}")


def _daemon_version(session: Session) -> str:
    from reconciler.api.client import OWN, Client

    try:
        if not daemon_answers(session.socket):
            return ""
        return str(Client(session.socket).get(f"{OWN}/status")["version"])
    except ReconcilerError as error:
        return f"unknown: {error}"
