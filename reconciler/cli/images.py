"""`reconciler images`: the image store, in docker's table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from reconciler.api.client import OWN
from reconciler.cli.ages import parse_time, spoken_age
from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.ps import SHORT_ID, short_image
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table

Json = Mapping[str, Any]
HEADERS = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


@click.command(
    epilog="""\b
Examples:
  reconciler images
  reconciler images web            of one repository
  reconciler images -q             ids, for scripts
"""
)
@click.argument("repository", required=False, metavar="[REPOSITORY[:TAG]]")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Ids in full.")
@click.option("--digests", is_flag=True, help="Show the digests of the manifests, too.")
@output_option("json", "yaml")
@pass_session
def command(
    session: Session, repository: str | None, quiet: bool, no_trunc: bool, digests: bool, output: str | None
) -> None:
    """List images, youngest first."""
    with session.client() as client:
        listed: list[Json] = client.get(f"{OWN}/images")
    shown = [image for image in listed if repository is None or any(_fits(repository, name) for name in names(image))]
    shown.sort(key=lambda image: parse_time(image["createdAt"]) or 0.0, reverse=True)
    match output:
        case "json":
            text = render_json(shown)
        case "yaml":
            text = render_yaml(shown)
        case _ if quiet:
            text = "".join(f"{short_id(image, whole=no_trunc)}\n" for image in shown)
        case _:
            headers = (*HEADERS[:2], "DIGEST", *HEADERS[2:]) if digests else HEADERS
            table, now = Table(headers, colour=colourful(), empty=True), time.time()
            text = table.render(
                row for image in shown for row in rows(image, now, repository, whole_ids=no_trunc, digests=digests)
            )
    click.echo(text, nl=False)


def rows(
    image: Json, now: float, only: str | None = None, *, whole_ids: bool = False, digests: bool = False
) -> Iterator[tuple[str, ...]]:
    """An image under HEADERS, once for each of its names."""
    born = parse_time(image["createdAt"])
    for repository, tag in names(image):
        if only is None or _fits(only, (repository, tag)):
            yield (
                repository,
                tag,
                *((image["digest"],) if digests else ()),
                short_id(image, whole=whole_ids),
                f"{spoken_age(now - born)} ago" if born is not None else "",
                decimal_size(image["sizeBytes"]),
            )


def names(image: Json) -> list[tuple[str, str]]:
    """(repository, tag) of each name, as docker shows them; `<none>` for what has none."""
    found = []
    for reference in image["references"]:
        name, _, digest = reference.partition("@")
        repository, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            repository, tag = name, ""
        found.append((short_image(repository), tag or ("<none>" if digest else "latest")))
    return sorted(found) or [("<none>", "<none>")]


def _fits(asked: str, name: tuple[str, str]) -> bool:
    repository, tag = name
    return asked in (repository, f"{repository}:{tag}")


def short_id(image: Json, *, whole: bool) -> str:
    return str(image["id"]) if whole else str(image["id"]).removeprefix("sha256:")[:SHORT_ID]


def decimal_size(size_bytes: int) -> str:
    """Three significant digits, in powers of 1000, as docker has it: `4.26MB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if float(f"{size:.3g}") < 1000:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB" if size < 1000 else f"{size:.0f}TB"
