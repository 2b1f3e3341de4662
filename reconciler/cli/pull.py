"""`reconciler pull`: an image from a registry into the store."""

from __future__ import annotations

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.registry import auths, checked, verify_tls
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler pull nginx                              docker.io/library/nginx:latest
  reconciler pull registry.example.com/team/web:1.4
  reconciler pull --platform linux/arm64 nginx       for another machine
"""
)
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@click.option("--platform", default="", metavar="OS/ARCH[/VARIANT]", help="Else this machine's.")
@verify_tls
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
def command(session: Session, name: str, platform: str, tls_verify: bool, quiet: bool) -> None:
    """Fetch an image from a registry. Layers that are there already are not fetched again."""
    reference = checked(name)
    order = {"reference": reference, "platform": platform, "verifyTls": tls_verify, "auths": auths(reference)}
    with session.client() as client:
        follow(client.stream("POST", f"{OWN}/images/pull", order), f"pulling {name}", quiet=quiet)
