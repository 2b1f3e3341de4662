"""Where the rules put what they find."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.manifest.problems import Severity
from reconciler.manifest.yamltree import Location


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of an object. `location` is in the names of the manifest: ("spec", "containers", 0, "image")."""

    location: Location
    message: str
    severity: Severity = Severity.ERROR


class Report:
    """Collects findings; nothing stops at the first."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def error(self, at: Location, message: str) -> None:
        self.findings.append(Finding(at, message))

    def required(self, at: Location, why: str) -> None:
        """A field that must be there is not. `why` says what it is for, or what to write."""
        self.findings.append(Finding(at, f"required: {why}"))

    def refuse(self, at: Location, value: object, why: str) -> None:
        """A value that breaks a rule. `why` continues "<value> ..."; never for values of Secrets."""
        self.findings.append(Finding(at, f"{shown(value)} {why}"))

    def check(self, at: Location, value: str, fault: str) -> None:
        """`fault` is what a function of formats.py said of `value`: "" is fine."""
        if fault:
            self.refuse(at, value, fault)

    def between(self, at: Location, value: int | None, lowest: int, highest: int) -> None:
        """None is fine."""
        if value is not None and not lowest <= value <= highest:
            self.refuse(at, value, f"must be between {lowest} and {highest}")

    def at_least(self, at: Location, value: int | None, lowest: int = 0) -> None:
        """None is fine."""
        if value is not None and value < lowest:
            self.refuse(at, value, f"must be {lowest} or more")


def shown(value: object) -> str:
    """A value in a message: quoted when it is text, cut when it is long, and without control characters."""
    if not isinstance(value, str):
        return str(value)
    text = value if len(value) <= 70 else value[:60] + "..."
    return f'"{text}"' if text.isprintable() else repr(text)
