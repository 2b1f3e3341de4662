"""`reconciler get`: objects, in kubectl's tables, which the server fills in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from reconciler.api.client import Client
from reconciler.cli.complete import complete_objects
from reconciler.cli.kinds import Kind, parse_objects
from reconciler.cli.output import output_option, render, render_json, render_yaml
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table, server_headers, server_row
from reconciler.errors import ReconcilerError

Json = Mapping[str, Any]
Wanted = Sequence[tuple[Kind, str | None]]


@click.command(
    epilog="""\b
Kinds: pods (po), deployments (deploy), replicasets (rs), configmaps (cm), secrets,
namespaces (ns), events (ev); `all` is pods, deployments and replicasets.
\b
Examples:
  reconciler get pods                        in the namespace default
  reconciler get all -A -o wide              in every namespace, more columns
  reconciler get deploy/web po/web-0         by name, of several kinds
  reconciler get po -l app=web,tier!=db -w   go on printing what changes
  reconciler get cm settings -o yaml         the whole object
"""
)
@click.argument("objects", nargs=-1, required=True, metavar="KIND [NAME]...", shell_complete=complete_objects)
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace to look in.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look in every namespace.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="Only objects with these labels.")
@click.option("-w", "--watch", is_flag=True, help="Print, then go on printing what changes.")
@click.option("--no-headers", is_flag=True, help="Leave out the heading of tables.")
@output_option("wide", "json", "yaml", "name")
@pass_session
def command(
    session: Session,
    objects: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    watch: bool,
    no_headers: bool,
    output: str | None,
) -> None:
    """List objects: their state in a few words, or all of it with -o."""
    wanted = parse_objects(objects)
    kinds = list(dict.fromkeys(kind for kind, _ in wanted))
    named = any(name for _, name in wanted)
    if named and selector:
        raise click.UsageError("a name and a selector (-l) at once: use one of them")
    if named and all_namespaces:
        raise click.UsageError("a name needs its namespace: use -n, not -A")
    if watch and len(kinds) > 1:
        raise click.UsageError("-w follows one kind at a time")
    where = None if all_namespaces else namespace
    listing = Listing(where, selector, wide=output == "wide", headed=not no_headers)
    with session.client() as client:
        if watch:
            listing.follow(client, kinds[0], {name for _, name in wanted if name}, output)
            return
        if output in ("json", "yaml", "name"):
            failures = listing.print_objects(client, wanted, output)
        else:
            failures = listing.print_tables(client, wanted)
    for failure in failures[:-1]:
        click.echo(f"Error: {failure}", err=True)
    if failures:
        raise failures[-1]


class Listing:
    """What is looked at, and how: the options of one `get`. `where` None is every namespace."""

    def __init__(self, where: str | None, selector: str, *, wide: bool, headed: bool) -> None:
        self._where = where
        self._query = {"labelSelector": selector} if selector else {}
        self._wide = wide
        self._headed = headed

    def print_objects(self, client: Client, wanted: Wanted, output: str) -> list[ReconcilerError]:
        """All of the objects. Returns: what was named and is not there; it does not hide the others."""
        answers, failures = self._fetch(client, wanted, table=False)
        items = [item for kind, answer in answers for item in _items(kind, answer)]
        single = len(wanted) == 1 and wanted[0][1] is not None
        if items or not single:
            click.echo(render(items, output, single=single), nl=False)
        return failures

    def print_tables(self, client: Client, wanted: Wanted) -> list[ReconcilerError]:
        """One table a kind, an empty line between them. Returns: as `print_objects`."""
        answers, failures = self._fetch(client, wanted, table=True)
        texts = []
        for kind in dict.fromkeys(kind for kind, _ in answers):
            several = len({of for of, _ in wanted}) > 1
            tables = [answer for of, answer in answers if of is kind]
            rows = [row for table in tables for row in table["rows"]]
            shown = self._table(kind, tables[0]["columnDefinitions"])
            texts.append(shown(rows, f"{kind.qualified}/" if several else ""))
        if text := "\n".join(filter(None, texts)):
            click.echo(text, nl=False)
        elif not failures:
            scoped = self._where is not None and any(kind.namespaced for kind, _ in wanted)
            click.echo(f"No resources found{f' in {self._where} namespace' if scoped else ''}.", err=True)
        return failures

    def follow(self, client: Client, kind: Kind, names: set[str], output: str | None) -> None:
        """Print what is there and then every change since, until interrupted."""
        as_table = output in (None, "wide")
        path = kind.path(self._where)
        answer = client.get(path, table=as_table, **self._query)
        shown = self._table(kind, answer["columnDefinitions"]) if as_table else None

        def show(answer: Json) -> None:
            if shown is not None:
                rows = [r for r in answer["rows"] if not names or r["object"]["metadata"]["name"] in names]
                click.echo(shown(rows, ""), nl=False)
                return
            for item in _items(kind, answer):
                if not names or item["metadata"]["name"] in names:
                    click.echo(_stream_text(item, str(output)), nl=False)

        show(answer)
        version = answer["metadata"]["resourceVersion"]
        for change in client.stream("GET", path, table=as_table, watch=True, resourceVersion=version, **self._query):
            if change["type"] != "BOOKMARK":
                show(change["object"])

    def _fetch(
        self, client: Client, wanted: Wanted, *, table: bool
    ) -> tuple[list[tuple[Kind, Json]], list[ReconcilerError]]:
        answers: list[tuple[Kind, Json]] = []
        failures: list[ReconcilerError] = []
        for kind, name in wanted:
            query = self._query if name is None else {}
            try:
                answers.append((kind, client.get(kind.path(self._where, name), table=table, **query)))
            except ReconcilerError as error:
                if name is None or error.reason != "NotFound":
                    raise
                failures.append(error)
        return answers, failures

    def _table(self, kind: Kind, columns: Sequence[Json]) -> Callable[[Iterable[Json], str], str]:
        """Rows of a server's Table, and a prefix of their names, to text; the heading comes once."""
        namespaces = self._where is None and kind.namespaced
        headers = server_headers(columns, wide=self._wide, namespaces=namespaces)
        table = Table(headers, colour=colourful(), headed=self._headed)

        def show(rows: Iterable[Json], prefix: str) -> str:
            return table.render(
                server_row(row, columns, wide=self._wide, namespaces=namespaces, prefix=prefix) for row in rows
            )

        return show


def _items(kind: Kind, answer: Json) -> list[Json]:
    """The objects of a list or of a single answer; lists leave out what is the same for every item."""
    items: list[Json] = answer.get("items", [answer])
    return [{"apiVersion": kind.api, "kind": kind.kind, **item} for item in items]


def _stream_text(item: Json, output: str) -> str:
    match output:
        case "json":
            return render_json(item)
        case "yaml":
            return "---\n" + render_yaml(item)
        case _:
            return render([item], output, single=True)
