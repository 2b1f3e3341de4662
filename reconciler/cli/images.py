"""`reconciler images`: the image store, in docker's table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
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
  reconciler images web                       of one repository
  reconciler images 'team/*:1'                of all that fit
  reconciler images -f dangling=true          those without a name
  reconciler images -q                        ids, for scripts
"""
)
@click.argument("repository", required=False, metavar="[REPOSITORY[:TAG]]")
@click.option("-a", "--all", "every", is_flag=True, help="As docker has it; no layer is an image of its own here.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only images that fit.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Ids in full.")
@click.option("--digests", is_flag=True, help="Show the digests of the manifests, too.")
@output_option("json", "yaml")
@pass_session
def command(
    session: Session,
    repository: str | None,
    every: bool,
    filters: tuple[str, ...],
    quiet: bool,
    no_trunc: bool,
    digests: bool,
    output: str | None,
) -> None:
    """List images, youngest first."""
    fits = parse_filters(filters)
    with session.client() as client:
        listed: list[Json] = client.get(f"{OWN}/images")
    shown = [image for image in listed if fits(image) and (repository is None or _named(image, repository))]
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


def parse_filters(filters: Sequence[str]) -> Callable[[Json], bool]:
    """Read docker's `--filter key=value`: dangling=true|false, reference=PATTERN. Raises: click.UsageError."""
    tests: list[Callable[[Json], bool]] = []
    for text in filters:
        key, _, value = text.partition("=")
        if key == "dangling" and value in ("true", "false"):
            tests.append(partial(_dangles, wanted=value == "true"))
        elif key == "reference" and value:
            tests.append(partial(_named, asked=value))
        else:
            raise click.UsageError(f"no such filter: {text!r}; there are dangling=true|false, reference=PATTERN")
    return lambda image: all(test(image) for test in tests)


def _dangles(image: Json, wanted: bool) -> bool:
    return (not image["references"]) == wanted


def _named(image: Json, asked: str) -> bool:
    return any(_fits(asked, name) for name in names(image))


def _fits(asked: str, name: tuple[str, str]) -> bool:
    """Whether a name, short or in full, with its tag or without, fits a pattern in which `*` stands for no `/`."""
    repository, tag = name
    wanted = short_image(asked)
    return any(_match(wanted, shown) for shown in (repository, f"{repository}:{tag}"))


def _match(pattern: str, text: str) -> bool:
    parts, wanted = text.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


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
