"""Rows to aligned text, as kubectl prints them; colour only where somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

GAP = 3
_CALM = {"Running", "Active", "Available", "Up", "Succeeded", "Completed", "running", "Normal"}
_BUSY = {
    "Pending",
    "Progressing",
    "ContainerCreating",
    "Terminating",
    "PodInitializing",
    "NotReady",
    "created",
    "paused",
    "Warning",
}
_STATUS_HEADERS = {"STATUS", "STATE", "TYPE"}
# a cell is one line and cannot move the cursor: messages may come from an image
_VISIBLE = {code: " " if code in (9, 10, 13) else "\ufffd" for code in (*range(32), *range(127, 160))}


def visible(text: str) -> str:
    """`text` on one line, and without anything that moves a cursor."""
    return text.translate(_VISIBLE)


class Table:
    """Columns as wide as the widest cell so far: rows may follow later (`-w`) and still align.

    The heading comes with the first rows; with `empty` even without rows, as docker has it,
    and never when not `headed`.
    """

    def __init__(
        self, headers: Sequence[str], *, colour: bool = False, empty: bool = False, headed: bool = True
    ) -> None:
        self._headers = tuple(headers)
        self._widths = [len(header) if headed else 0 for header in headers]
        self._colour = colour
        self._due = headed
        self._empty = empty

    def render(self, rows: Iterable[Sequence[str]]) -> str:
        """The lines of `rows`, after the heading when it is the first time; "" for nothing at all."""
        rows = [tuple(map(visible, row)) for row in rows]
        for cells in rows:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        lines = [self._line(cells) for cells in rows]
        if self._due and (rows or self._empty):
            self._due = False
            heading = self._pad(self._headers)
            lines.insert(0, click.style(heading, bold=True) if self._colour else heading)
        return "".join(line + "\n" for line in lines)

    def _pad(self, cells: Sequence[str]) -> str:
        padded = [cell.ljust(width + GAP) for cell, width in zip(cells[:-1], self._widths, strict=False)]
        return "".join((*padded, cells[-1])).rstrip()

    def _line(self, cells: Sequence[str]) -> str:
        if not self._colour:
            return self._pad(cells)
        # widths are counted without the escape codes, so colour goes in last
        line, at = self._pad(cells), 0
        for header, width, cell in zip(self._headers, self._widths, cells, strict=True):
            if header in _STATUS_HEADERS and (colour := status_colour(cell)):
                return line[:at] + click.style(cell, fg=colour) + line[at + len(cell) :]
            at += width + GAP
        return line


def server_headers(columns: Sequence[Mapping[str, Any]], *, wide: bool, namespaces: bool) -> tuple[str, ...]:
    """The heading of a meta.k8s.io/v1 Table, from its column definitions."""
    shown = (column["name"].upper() for column in columns if wide or not column["priority"])
    return (*(("NAMESPACE",) if namespaces else ()), *shown)


def server_row(
    row: Mapping[str, Any], columns: Sequence[Mapping[str, Any]], *, wide: bool, namespaces: bool, prefix: str = ""
) -> tuple[str, ...]:
    """One row of a Table, under `server_headers` of the same arguments; `prefix` as `get all` has it."""
    cells = [
        (prefix if column["format"] == "name" else "") + str(cell)
        for column, cell in zip(columns, row["cells"], strict=True)
        if wide or not column["priority"]
    ]
    return (*((row["object"]["metadata"].get("namespace", ""),) if namespaces else ()), *cells)


def status_colour(word: str) -> str | None:
    """green, yellow or red for a STATUS word; None for one that says neither good nor bad."""
    first = word.split(" ", 1)[0]
    if first in _CALM:
        return "green"
    if first in _BUSY or first.startswith("Init:"):
        return "yellow"
    return "red" if first and first[0].isupper() and first not in ("Opaque", "Exited", "Created") else None
