"""The table that a run of the bench ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of the table. Seconds, or what `unit` says; `most` is the budget in the same unit."""

    what: str
    ours: float
    floor: float | None = None
    most: float | None = None
    unit: str = "s"
    peers: tuple[float | None, ...] = ()

    @property
    def good(self) -> bool | None:
        return None if self.most is None else self.ours <= self.most


def render(rows: Sequence[Row], peers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", no_wrap=True)
    for title in ("floor", "reconciler", "of the floor", "budget", *peers):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        mark = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[row.good]
        ratio = f"{row.ours / row.floor:.2f} x" if row.floor else ""
        most = row.most if row.floor is None or row.most is None else row.most / row.floor
        budget = "" if most is None else (f"{most:g} x" if row.floor else amount(most, row.unit))
        cells = [_beside(row.ours, value) for value in row.peers] or ["" for _ in peers]
        floor = amount(row.floor, row.unit) if row.floor else ""
        table.add_row(row.what, floor, amount(row.ours, row.unit), ratio, f"{budget} {mark}".strip(), *cells)
    return table


def _beside(ours: float, theirs: float | None) -> str:
    """What a peer takes, and ours as a multiple of it."""
    return f"{amount(theirs, 's')} ({ours / theirs:.2f} x)" if theirs else "-"


def amount(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:.3g} {unit}"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
