"""Bytes to documents, reading YAML as Kubernetes reads it, and remembering lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.manifest.problems import Problem

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    `value` is what JSON could hold: dict with str keys, list, str, int, float, bool, None. It may
    share parts of itself (aliases): do not change it. `line` is where its content begins, from 1.
    `lines` maps the path of every value, such as ("spec", "containers", 0, "image"), to the line of its key
    (of the value itself in a list).
    """

    value: Any
    file: str
    line: int
    lines: Mapping[Location, int]


def line_of(document: Document, location: Location) -> int:
    """The line of `location`, or of the nearest thing around it that stands in the file."""
    for length in range(len(location), 0, -1):
        line = document.lines.get(location[:length])
        if line is not None:
            return line
    return document.line


def parse(content: bytes, file: str) -> tuple[list[Document], list[Problem]]:
    """All documents of a file that could be read, and what is wrong with the others. Never raises."""
    raise NotImplementedError
