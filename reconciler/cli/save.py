"""`reconciler save`: images into an archive that docker, podman, skopeo and `load` take."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import click

from reconciler.api.client import OWN
from reconciler.cli.progress import follow
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler save -o web.tar web:1 api:1
  reconciler save web:1 | docker load
  reconciler save --format oci -o web.tar web:1
"""
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False), help="The file; else standard output.")
@click.option("--format", "form", type=click.Choice(["docker", "oci"]), default="docker", help="Else docker.")
@pass_session
def command(session: Session, images: tuple[str, ...], target: str | None, form: str) -> None:
    """Write images into one archive."""
    if target is None and sys.stdout.isatty():
        raise click.UsageError("an archive is nothing for a terminal: name a file with -o, or pipe it on")
    with tempfile.TemporaryDirectory(prefix="reconciler-save-") as folder, session.client() as client:
        archive = os.path.abspath(target) if target else os.path.join(folder, "archive.tar")
        order = {"images": list(images), "archive": archive, "form": form}
        follow(client.stream("POST", f"{OWN}/images/save", order), "saving", quiet=target is None)
        if target is None:
            with open(archive, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
