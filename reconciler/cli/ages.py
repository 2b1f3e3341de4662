"""Moments and lengths of time: read from the API and the command line, shown in docker's words.

kubectl's short ages (`5m12s`) are in api/tables.py, with the tables that have them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

MINUTE, HOUR, YEAR = 60, 3600, 365 * 86400


def parse_time(text: str | None) -> float | None:
    """Read an API timestamp (RFC 3339). Returns: seconds since the epoch; None for none."""
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def show_time(seconds: float) -> str:
    """As `describe` shows a moment: in local time, with the zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def spoken_age(seconds: float) -> str:
    """A length of time as docker's tables have it. Source: github.com/docker/go-units HumanDuration."""
    total = max(int(seconds), 0)
    hours = int(seconds / HOUR + 0.5)
    for limit, text in (
        (1, "Less than a second"),
        (2, "1 second"),
        (MINUTE, f"{total} seconds"),
        (2 * MINUTE, "About a minute"),
        (HOUR, f"{total // MINUTE} minutes"),
    ):
        if total < limit:
            return text
    for limit, text in (
        (2, "About an hour"),
        (48, f"{hours} hours"),
        (24 * 14, f"{hours // 24} days"),
        (24 * 60, f"{hours // 24 // 7} weeks"),
        (24 * 730, f"{hours // 24 // 30} months"),
    ):
        if hours < limit:
            return text
    return f"{total // YEAR} years"


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Read `90`, `10s`, `1m30s` or `250ms`. Returns: seconds.

    Raises: ValueError.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|[smh]))+", text):
        raise ValueError(f"{text!r} is not a duration; write it as 10s, 1m30s or 2h")
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)(ms|[smh])", text))


def read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The callback of an option that takes a length of time; its value becomes seconds."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
