"""`reconciler events`: what happened, oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from reconciler.cli.complete import complete_objects
from reconciler.cli.description import event_time
from reconciler.cli.kinds import BY_KIND, parse_objects
from reconciler.cli.output import output_option, render, render_json
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table, server_headers, server_row

Json = Mapping[str, Any]
TYPES = ("Normal", "Warning")


@click.command(
    epilog="""\b
Examples:
  reconciler events                          in the namespace default
  reconciler events -A -w                    everywhere, and go on
  reconciler events --for deploy/web         of one object
  reconciler events --types Warning          only what went wrong
"""
)
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace to look in.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look in every namespace.")
@click.option("-w", "--watch", is_flag=True, help="Print, then go on printing what happens.")
@click.option(
    "--for", "about", metavar="KIND/NAME", default="", help="Of this object.", shell_complete=complete_objects
)
@click.option("--types", metavar="TYPE,...", default="", help="Normal, Warning or both.")
@output_option("wide", "json", "yaml", "name")
@pass_session
def command(
    session: Session,
    namespace: str,
    all_namespaces: bool,
    watch: bool,
    about: str,
    types: str,
    output: str | None,
) -> None:
    """List what happened, oldest first."""
    wanted = _parse_types(types)
    # rows carry their whole event: they are chosen and put in order by it
    query = {"includeObject": "Object", **({"fieldSelector": _parse_about(about)} if about else {})}
    path = BY_KIND["Event"].path(None if all_namespaces else namespace)
    wide = output == "wide"
    with session.client() as client:
        answer = client.get(path, table=True, **query)
        columns = answer["columnDefinitions"]
        table = Table(server_headers(columns, wide=wide, namespaces=all_namespaces), colour=colourful())

        def show(rows: Sequence[Json]) -> bool:
            """Print what is wanted of `rows`; whether there was any."""
            rows = sorted(
                (row for row in rows if row["object"]["type"] in wanted), key=lambda row: event_time(row["object"])
            )
            if output in (None, "wide"):
                text = table.render(server_row(row, columns, wide=wide, namespaces=all_namespaces) for row in rows)
            else:
                events = [{"apiVersion": "v1", "kind": "Event", **row["object"]} for row in rows]
                follows = watch and output == "json"
                text = "".join(map(render_json, events)) if follows else render(events, str(output), single=False)
            click.echo(text, nl=False)
            return bool(rows)

        if not show(answer["rows"]) and not watch and output in (None, "wide"):
            click.echo(f"No events found{'' if all_namespaces else f' in {namespace} namespace'}.", err=True)
        if watch:
            version = answer["metadata"]["resourceVersion"]
            for change in client.stream("GET", path, table=True, watch=True, resourceVersion=version, **query):
                if change["type"] in ("ADDED", "MODIFIED"):
                    show(change["object"]["rows"])


def _parse_types(types: str) -> set[str]:
    """Raises: click.UsageError."""
    wanted = {word.strip().capitalize() for word in types.split(",") if word.strip()}
    if unknown := wanted - set(TYPES):
        raise click.UsageError(f"no such type of event: {', '.join(sorted(unknown))}; there are {' and '.join(TYPES)}")
    return wanted or set(TYPES)


def _parse_about(about: str) -> str:
    """Read KIND/NAME into a field selector. Raises: click.UsageError."""
    objects = parse_objects((about,))
    if len(objects) != 1 or objects[0][1] is None:
        raise click.UsageError(f"--for takes KIND/NAME, not {about!r}")
    kind, name = objects[0]
    return f"involvedObject.kind={kind.kind},involvedObject.name={name}"
