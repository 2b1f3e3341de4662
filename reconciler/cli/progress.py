"""Orders that take a while: their lines as they come, with what is going on below them on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from reconciler.cli.session import colourful

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def follow(answer: Iterable[Mapping[str, Any]], doing: str, *, quiet: bool = False) -> Mapping[str, Any]:
    """Print the lines of an order's answer until it is done. Returns: its last value, {"done": ...}.

    `doing` (`building web:1`) is shown with the time it takes, on a terminal, below the lines.
    Raises: what the order raised.
    """
    last: Mapping[str, Any] = {}
    with _spinner(doing, show=not quiet) as say:
        for last in answer:
            if "line" in last and not quiet:
                say(last["line"])
    return last


@contextmanager
def _spinner(doing: str, *, show: bool) -> Iterator[Any]:
    if not show or not (sys.stdout.isatty() and colourful(sys.stderr)):
        yield click.echo
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(doing, total=None)

        def say(line: str) -> None:
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield say
