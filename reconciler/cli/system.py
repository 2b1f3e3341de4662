"""`reconciler system`: what the instance is, what it takes of the disk, and making room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from reconciler.api.client import OWN
from reconciler.cli.images import decimal_size
from reconciler.cli.output import output_option, render_json, render_yaml
from reconciler.cli.prune import prune
from reconciler.cli.session import Session, colourful, pass_session
from reconciler.cli.table import Table

Json = Mapping[str, Any]
HEADERS = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")


@click.group(
    epilog="""\b
Examples:
  reconciler system df
  reconciler system info
  reconciler system prune -a --dry-run
"""
)
def command() -> None:
    """Show and manage what this instance takes of the machine."""


@command.command("df")
@output_option("json", "yaml")
@pass_session
def disk_usage(session: Session, output: str | None) -> None:
    """Show what images, containers and the build cache take on disk."""
    with session.client() as client:
        rows: list[Json] = client.get(f"{OWN}/system/df")
    match output:
        case "json":
            text = render_json(rows)
        case "yaml":
            text = render_yaml(rows)
        case _:
            text = Table(HEADERS, colour=colourful()).render(map(cells, rows))
    click.echo(text, nl=False)


@command.command("info")
@output_option("json", "yaml")
@pass_session
def info(session: Session, output: str | None) -> None:
    """Show what runs here, and on what."""
    with session.client() as client:
        facts: Json = client.get(f"{OWN}/system/info")
    match output:
        case "json":
            text = render_json(facts)
        case "yaml":
            text = render_yaml(facts)
        case _:
            text = "".join(f"{line}\n" for line in _lines(facts))
    click.echo(text, nl=False)


@command.command("prune")
@click.option("-a", "--all", "every", is_flag=True, help="All unused images, not only dangling ones.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_session
def prune_all(session: Session, every: bool, dry_run: bool, force: bool) -> None:
    """Remove unused images and the build cache."""
    with session.client() as client:
        prune(client, {"all": every, "buildCache": True}, dry_run=dry_run, force=force)


def cells(row: Json) -> tuple[str, ...]:
    """One kind under HEADERS."""
    size, free = row["sizeBytes"], row["reclaimableBytes"]
    share = f" ({free * 100 // size}%)" if size else ""
    return (row["type"], str(row["total"]), str(row["active"]), decimal_size(size), decimal_size(free) + share)


def _lines(facts: Json) -> list[str]:
    counts = dict(facts["containers"])
    total = counts.pop("total")
    shown = [
        ("Version", facts["version"]),
        ("Name", facts["name"]),
        ("Instance", facts["instance"]),
        ("Pods", facts["pods"]),
        ("Containers", f"{total} ({', '.join(f'{count} {state}' for state, count in counts.items())})"),
        ("Images", facts["images"]),
        ("Storage Driver", facts["storageDriver"]),
        ("OCI Runtime", facts["ociRuntime"]),
        ("Cgroup Version", facts["cgroupVersion"]),
        ("Pod Network", facts["podCidr"]),
        ("Kernel Version", facts["kernel"]),
        ("Operating System", facts["operatingSystem"]),
        ("Architecture", facts["architecture"]),
        ("CPUs", facts["cpus"]),
        ("Total Memory", f"{facts['memoryBytes'] / (1 << 30):.4g}GiB"),
        ("State Dir", facts["stateDir"]),
        ("Run Dir", facts["runDir"]),
        ("Watches", ", ".join(facts["watches"]) or "nothing"),
    ]
    return [f"{name}: {value}" for name, value in shown]
