"""Orders that take a while: their lines as they come, with how far they are below them on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from reconciler.cli.session import colourful

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def follow(answer: Iterable[Mapping[str, Any]], doing: str, *, quiet: bool = False) -> Mapping[str, Any]:
    """Print the lines of an order's answer until it is done. Returns: its last value, {"done": ...}.

    `doing` (`building web:1`) is shown with the time it takes, on a terminal, below the lines; with a bar
    and what was moved, when the order says how much there is to move. Raises: what the order raised.
    """
    last: Mapping[str, Any] = {}
    with _below(doing, show=not quiet) as (say, measure):
        for last in answer:
            if "line" in last and not quiet:
                say(last["line"])
            if "progress" in last:
                measure(last["progress"])
    return last


@contextmanager
def _below(doing: str, *, show: bool) -> Iterator[tuple[Callable[[str], None], Callable[[Mapping[str, int]], None]]]:
    """How to print a line, and how to show the progress."""
    if not show or not (sys.stdout.isatty() and colourful(sys.stderr)):
        yield click.echo, lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(doing, total=None)

        def say(line: str) -> None:
            shown.console.print(line, markup=False, highlight=False, soft_wrap=True)

        def measure(progress: Mapping[str, int]) -> None:
            if progress["totalBytes"]:
                shown.columns = (*columns[:2], BarColumn(), DownloadColumn(), columns[2])
                shown.update(task, completed=progress["doneBytes"], total=progress["totalBytes"])

        yield say, measure
