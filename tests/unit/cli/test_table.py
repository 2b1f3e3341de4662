"""Rows to aligned text."""

from __future__ import annotations

import re

import pytest

from reconciler.cli.table import Table, server_headers, server_row, status_colour


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    table = Table(("NAME", "STATUS", "AGE"))
    assert table.render([("web-0", "Running", "5s"), ("a-longer-name", "Pending", "12m")]) == (
        "NAME            STATUS    AGE\n"
        "web-0           Running   5s\n"
        "a-longer-name   Pending   12m\n"
    )  # fmt: skip


def test_later_rows_keep_to_the_columns_and_have_no_second_heading() -> None:
    table = Table(("NAME", "AGE"))
    table.render([("web-0-long", "5s")])
    assert table.render([("w", "6s")]) == "w            6s\n"


def test_no_rows_no_heading_but_with_empty() -> None:
    assert Table(("NAME",)).render([]) == ""
    assert Table(("NAME", "AGE"), empty=True).render([]) == "NAME   AGE\n"
    assert Table(("A LONG HEADING", "X"), headed=False).render([("a", "b")]) == "a   b\n"


def test_lines_never_end_in_blanks() -> None:
    assert Table(("NAME", "PORTS")).render([("web", "")]) == "NAME   PORTS\nweb\n"


def test_a_cell_cannot_break_its_line_or_move_the_cursor() -> None:
    assert Table(("A", "B"), headed=False).render([("x\ny\t", "\x1b[2J\x9b")]) == "x y    \ufffd[2J\ufffd\n"


def test_colour_changes_nothing_but_colour() -> None:
    rows = [("web", "Running", "1"), ("db", "CrashLoopBackOff", "2"), ("x", "Pending", "3")]
    headers = ("NAME", "STATUS", "AGE")
    coloured = Table(headers, colour=True).render(rows)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == Table(headers).render(rows)
    assert "\x1b[32mRunning\x1b[0m" in coloured
    assert "\x1b[31mCrashLoopBackOff\x1b[0m" in coloured
    assert "\x1b[33mPending\x1b[0m" in coloured


@pytest.mark.parametrize(
    ("word", "colour"),
    [
        ("Running", "green"),
        ("Up 3 minutes", "green"),
        ("Init:0/1", "yellow"),
        ("ErrImagePull", "red"),
        ("Exited (1)", None),
    ],
)
def test_colours_of_words(word: str, colour: str | None) -> None:
    assert status_colour(word) == colour


COLUMNS = [
    {"name": "Name", "priority": 0, "format": "name"},
    {"name": "Up-to-date", "priority": 0, "format": ""},
    {"name": "Images", "priority": 1, "format": ""},
]
ROW = {"cells": ["web", 3, "nginx"], "object": {"metadata": {"namespace": "shop"}}}


@pytest.mark.parametrize(
    ("wide", "namespaces", "headers", "cells"),
    [
        (False, False, ("NAME", "UP-TO-DATE"), ("web", "3")),
        (True, False, ("NAME", "UP-TO-DATE", "IMAGES"), ("web", "3", "nginx")),
        (False, True, ("NAMESPACE", "NAME", "UP-TO-DATE"), ("shop", "web", "3")),
    ],
)
def test_tables_of_the_server(wide: bool, namespaces: bool, headers: tuple[str, ...], cells: tuple[str, ...]) -> None:
    assert server_headers(COLUMNS, wide=wide, namespaces=namespaces) == headers
    assert server_row(ROW, COLUMNS, wide=wide, namespaces=namespaces) == cells


def test_get_all_puts_the_kind_before_the_name() -> None:
    assert server_row(ROW, COLUMNS, wide=False, namespaces=True, prefix="pod/") == ("shop", "pod/web", "3")
