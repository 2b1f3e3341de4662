"""`reconciler ps`: containers, in docker's table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from reconciler.api.client import OWN
from reconciler.cli.ages import parse_time, spoken_age
from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table

Json = Mapping[str, Any]
HEADERS = ("CONTAINER ID", "IMAGE", "CREATED", "STATUS", "PORTS", "NAMES")
SHORT_ID = 12
SHOWN = ("running", "paused", "broken")  # without -a: what should be looked at


@click.command(
    epilog="""\b
Filters: id, name, pod, namespace, ancestor (the image), status (running, paused, exited, created, broken),
exited (the exit code). Different keys must all fit; of one key any value may.
\b
Examples:
  reconciler ps                                   what runs
  reconciler ps -a --filter status=exited         what has ended
  reconciler ps -q --filter pod=web-0             ids, for scripts
"""
)
@click.option("-a", "--all", "every", is_flag=True, help="Those that do not run, too.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Ids in full.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only containers that fit.")
@output_option("json", "yaml", "name")
@pass_session
def command(
    session: Session, every: bool, quiet: bool, no_trunc: bool, filters: tuple[str, ...], output: str | None
) -> None:
    """List containers, youngest first."""
    fits = parse_filters(filters)
    asks_for_state = any(text.startswith(("status=", "exited=")) for text in filters)
    with session.client() as client:
        listed = client.get(f"{OWN}/containers")
    shown = [row for row in listed if fits(row) and (every or asks_for_state or row["state"] in SHOWN)]
    shown.sort(key=lambda row: (parse_time(row["createdAt"]) or 0.0, row["id"]), reverse=True)
    match output:
        case "json":
            text = render_json(shown)
        case "yaml":
            text = render_yaml(shown)
        case "name":
            text = "".join(f"{full_name(row)}\n" for row in shown)
        case _ if quiet:
            text = "".join(f"{row['id'] if no_trunc else row['id'][:SHORT_ID]}\n" for row in shown)
        case _:
            table, now = Table(HEADERS, colour=colourful(), empty=True), time.time()
            text = table.render([cells(row, now, whole_ids=no_trunc) for row in shown])
    click.echo(text, nl=False)


def parse_filters(filters: Sequence[str]) -> Callable[[Json], bool]:
    """Read docker's `--filter key=value`. Raises: click.UsageError with the keys there are."""
    tests: dict[str, Callable[[Json, str], bool]] = {
        "id": lambda row, value: str(row["id"]).startswith(value),
        "name": lambda row, value: value in full_name(row),
        "pod": lambda row, value: row["pod"] == value,
        "namespace": lambda row, value: row["namespace"] == value,
        "ancestor": lambda row, value: value in (row["image"], short_image(row["image"]), row.get("imageId")),
        "status": lambda row, value: row["state"] == value,
        "exited": lambda row, value: row["state"] == "exited" and str(row.get("exitCode")) == value,
    }
    wanted: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in tests:
            raise click.UsageError(f"no such filter: {text!r}; there are {', '.join(f'{key}=' for key in tests)}")
        wanted.setdefault(key, []).append(value)
    return lambda row: all(any(tests[key](row, value) for value in values) for key, values in wanted.items())


def full_name(row: Json) -> str:
    """`pod/container`, with the namespace before it when it is not `default`: what logs and exec take."""
    name = f"{row['pod']}/{row['name']}"
    return name if row["namespace"] == "default" else f"{row['namespace']}/{name}"


def short_image(reference: str) -> str:
    """As docker shows it: without the default registry and the default tag."""
    return reference.removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")


def cells(row: Json, now: float, *, whole_ids: bool = False) -> tuple[str, ...]:
    """One container under HEADERS."""
    born = parse_time(row["createdAt"])
    return (
        row["id"] if whole_ids else row["id"][:SHORT_ID],
        short_image(row["image"]),
        f"{spoken_age(now - born)} ago" if born is not None else "",
        status(row, now),
        ", ".join(map(_port, row.get("ports") or ())),
        full_name(row),
    )


def status(row: Json, now: float) -> str:
    """docker's STATUS: `Up 3 minutes`, `Exited (1) 5 seconds ago`, `Broken: no network namespace`."""
    started, finished = parse_time(row.get("startedAt")), parse_time(row.get("finishedAt"))
    up = f"Up {spoken_age(now - started)}" if started is not None else "Up"
    match row["state"]:
        case "running":
            return up
        case "paused":
            return f"{up} (Paused)"
        case "exited":
            ago = f" {spoken_age(now - finished)} ago" if finished is not None else ""
            return f"Exited ({row.get('exitCode', '?')}){ago}"
        case "broken":
            return f"Broken: {row.get('fault') or 'unknown'}"
        case state:
            return str(state).capitalize()


def _port(port: Json) -> str:
    address = port.get("hostIP") or "0.0.0.0"  # noqa: S104  what is shown, not what is bound
    return f"{address}:{port['hostPort']}->{port['containerPort']}/{port.get('protocol', 'TCP').lower()}"
