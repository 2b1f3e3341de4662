"""What is wrong with a manifest, where, and how to mend it.

Parsing and admission never stop at the first fault: they collect Problems, so that
one look shows everything there is to mend. A problem is also data for `validate -o json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Scope = Literal["file", "object"]


class Severity(StrEnum):
    """ERROR refuses, WARNING says what will not be as declared, NOTE what has no effect here."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of one file.

    `line` counts from 1; 0 is the file as a whole. `field` is a path such as
    `spec.containers[0].image`, or empty. An error of scope "file" keeps the whole file at
    what it last was; one of scope "object" leaves out only its own object. `message` is one
    line and never holds the content of a Secret.
    """

    file: str
    line: int
    field: str
    message: str
    severity: Severity = Severity.ERROR
    scope: Scope = "file"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.field, self.message) if part)

    def to_json(self) -> dict[str, str | int]:
        """As an item of `problems` in `validate -o json`: line, field, message, severity."""
        return {"line": self.line, "field": self.field, "message": self.message, "severity": str(self.severity)}


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that refuse something."""
    return [p for p in problems if p.severity is Severity.ERROR]
