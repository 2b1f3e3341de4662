"""`reconciler validate`: what is wrong with manifests, without a daemon, root, or anything being changed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.output import output_option, render_json
from reconciler.cli.session import colourful

if TYPE_CHECKING:
    from reconciler.manifest.problems import Problem
    from reconciler.manifest.reader import Reading

STDIN = "-"
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command(
    epilog="""\b
PATH is a folder, read as `watch` reads it, a file of any name, or - for what comes on stdin.
Every PATH is checked by itself: two of them may declare the same object.
The exit code is 0 when nothing is wrong, and 1 when something is; warnings and notes do not count.
\b
Examples:
  reconciler validate manifests/
  reconciler validate web.yaml -o json
  helm template ./chart | reconciler validate -
"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, allow_dash=True))
@output_option("json")
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], output: str | None) -> None:
    """Check the manifests in PATH, and show every problem of all of them."""
    checked = asyncio.run(_check(paths))
    problems = [problem for _, reading in checked for problem in reading.problems]
    if output == "json":
        click.echo(render_json(_as_json(checked)), nl=False)
    else:
        colour = colourful()
        for problem in problems:
            click.echo(problem_line(problem, colour=colour))
        click.echo(_summary(checked, problems), err=True)
    ctx.exit(1 if any(problem.severity == "error" for problem in problems) else 0)


async def _check(paths: Iterable[str]) -> list[tuple[list[str], Reading]]:
    """For every path: the files it has, and what they declare. File names are as the user can open them."""
    from reconciler.errors import TransientError
    from reconciler.manifest.reader import Reader
    from reconciler.sources.directory import DirectorySource

    checked = []
    for path in paths:
        files: dict[str, bytes] = {}
        unreadable: Mapping[str, str] = {}
        if path == STDIN:
            files = {STDIN: await asyncio.to_thread(_stdin)}
        else:
            try:
                tree = await DirectorySource([Path(path)]).load()
            except TransientError as error:
                unreadable = {path: str(error)}
            else:
                files = {_shown(path, file.path): file.content for file in tree.files}
                unreadable = {_shown(path, below): why for below, why in tree.unreadable.items()}
        checked.append(([*files, *unreadable], Reader().read(files, unreadable)))
    return checked


def _stdin() -> bytes:
    from reconciler.manifest.yamldoc import MAX_BYTES

    return sys.stdin.buffer.read(MAX_BYTES)


def _shown(path: str, below: str) -> str:
    return os.path.normpath(os.path.join(path, below)) if os.path.isdir(path) else path


def _as_json(checked: Iterable[tuple[list[str], Reading]]) -> list[dict[str, Any]]:
    from reconciler.model.meta import to_json

    listed: list[dict[str, Any]] = []
    for files, reading in checked:
        found: dict[str, dict[str, Any]] = {
            file: {"file": file, "objects": [], "problems": []} for file in sorted(files)
        }
        for entry in reading.objects.values():
            found[entry.file]["objects"].append(to_json(entry.object))
        for problem in reading.problems:
            found[problem.file]["problems"].append(problem.to_json())
        listed += found.values()
    return listed


def problem_line(problem: Problem, *, colour: bool) -> str:
    """`file:line: field: message`; what is no error says what it is before the message."""
    severity = str(problem.severity)
    mark = "" if severity == "error" else f"{severity}: "
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    field = f"{problem.field}: " if problem.field else ""
    if not colour:
        return f"{place}: {field}{mark}{problem.message}"
    return f"{click.style(place, bold=True)}: {field}{click.style(mark + problem.message, fg=_COLOURS[severity])}"


def _summary(checked: Iterable[tuple[list[str], Reading]], problems: Iterable[Problem]) -> str:
    files = sum(len(files) for files, _ in checked)
    if not files:
        return "no manifests: no file here ends in .yaml, .yml or .json"
    objects = sum(len(reading.objects) for _, reading in checked)
    counts = [(sum(p.severity == severity for p in problems), severity) for severity in _COLOURS]
    found = ", ".join(_count(number, name) for number, name in counts if number) or "no problems"
    return f"{_count(files, 'file')}, {_count(objects, 'object')}: {found}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
