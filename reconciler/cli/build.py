"""`reconciler build`: a Dockerfile becomes an image of the store."""

from __future__ import annotations

import os

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler build -t web:1 .
  reconciler build -t web:dev -f deploy/Dockerfile --target dev --build-arg VERSION=3 .
"""
)
@click.argument("context", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("-t", "--tag", required=True, metavar="NAME[:TAG]", help="The name of the image.")
@click.option("-f", "--file", "dockerfile", type=click.Path(exists=True, dir_okay=False), help="Else DIR/Dockerfile.")
@click.option("--target", default="", help="The stage to build, else the last.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME[=VALUE]", help="A value for an ARG.")
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
def command(
    session: Session,
    context: str,
    tag: str,
    dockerfile: str | None,
    target: str,
    arguments: tuple[str, ...],
    no_cache: bool,
    quiet: bool,
) -> None:
    """Build an image from the Dockerfile in DIR."""
    order = {
        "context": os.path.abspath(context),
        "reference": tag,
        "dockerfile": os.path.abspath(dockerfile) if dockerfile else "",
        "target": target,
        "buildArgs": parse_arguments(arguments),
        "noCache": no_cache,
    }
    with session.client() as client:
        follow(client.stream("POST", f"{OWN}/images/build", order), f"building {tag}", quiet=quiet)


def parse_arguments(arguments: tuple[str, ...]) -> dict[str, str]:
    """Read `NAME=VALUE`; a bare NAME takes its value from the environment, and is left out without one."""
    found = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found
