"""`reconciler load`: images from an archive into the store."""

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
  reconciler load -i web.tar                 as `docker save` or `podman save` wrote it
  docker save web | reconciler load          the same, without a file
  reconciler load -i layout/ -t web:1        an OCI image layout, under a name
"""
)
@click.option("-i", "--input", "source", type=click.Path(exists=True), help="A file or a layout; else standard input.")
@click.option("-t", "--tag", default="", metavar="NAME[:TAG]", help="The name, for an archive that has none.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@pass_session
def command(session: Session, source: str | None, tag: str, quiet: bool) -> None:
    """Take images from a docker-archive, an oci-archive or an OCI layout."""
    if source is None and sys.stdin.isatty():
        raise click.UsageError("no archive: name it with -i, or pipe it in")
    with tempfile.TemporaryDirectory(prefix="reconciler-load-") as folder:
        if source is None:
            source = os.path.join(folder, "archive.tar")
            with open(source, "wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        with session.client() as client:
            order = {"archive": os.path.abspath(source), "reference": tag}
            follow(client.stream("POST", f"{OWN}/images/load", order), "loading", quiet=quiet)
