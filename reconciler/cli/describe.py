"""`reconciler describe`: one object in full, with its events."""

from __future__ import annotations

import time
from typing import Any

import click

from reconciler.api.client import Client
from reconciler.cli.complete import complete_objects
from reconciler.cli.description import describe
from reconciler.cli.kinds import BY_KIND, Kind, parse_objects
from reconciler.cli.session import Session, pass_session


@click.command(
    epilog="""\b
Examples:
  reconciler describe pod web-0              why does it not start
  reconciler describe deploy/web
  reconciler describe secret api -n shop     keys and sizes; never the values
"""
)
@click.argument("objects", nargs=-1, required=True, metavar="KIND NAME...", shell_complete=complete_objects)
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace to look in.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Every object of the kind.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="Only objects with these labels.")
@pass_session
def command(session: Session, objects: tuple[str, ...], namespace: str, all_namespaces: bool, selector: str) -> None:
    """Show objects in full: what is declared, what is, and what happened."""
    where = None if all_namespaces else namespace
    with session.client() as client:
        texts = []
        for kind, name in parse_objects(objects):
            for item in _items(client, kind, name, where, selector):
                item = {"apiVersion": kind.api, "kind": kind.kind, **item}
                texts.append(describe(item, _events(client, kind, item), time.time()))
    if texts:
        click.echo("\n\n".join(texts), nl=False)
    else:
        click.echo(f"No resources found{f' in {where} namespace' if where else ''}.", err=True)


def _items(client: Client, kind: Kind, name: str | None, where: str | None, selector: str) -> list[dict[str, Any]]:
    if name is not None:
        return [client.get(kind.path(where, name))]
    return list(client.get(kind.path(where), labelSelector=selector or None)["items"])


def _events(client: Client, kind: Kind, item: dict[str, Any]) -> list[dict[str, Any]]:
    if kind.kind == "Event":
        return []
    meta = item["metadata"]
    selector = f"involvedObject.kind={kind.kind},involvedObject.name={meta['name']}"
    return list(client.get(BY_KIND["Event"].path(meta.get("namespace")), fieldSelector=selector)["items"])
