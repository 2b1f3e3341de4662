"""Lengths of time in docker's words, and read from the command line."""

from __future__ import annotations

import pytest

from reconciler.cli.ages import parse_duration, parse_time, spoken_age

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"),
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (HOUR, "About an hour"),
        (1.4 * HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (41 * DAY, "5 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_spoken_age_is_dockers(seconds: float, text: str) -> None:
    assert spoken_age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("10s", 10), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400), ("2h0m1s", 7201)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-5s", "10x", "s", "1m 30s", "1e3s", "5d"])
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 10s"):
        parse_duration(text)


def test_times_are_seconds_since_the_epoch() -> None:
    assert parse_time("1970-01-01T00:01:00Z") == 60.0
    assert parse_time("1970-01-01T00:00:00.250000Z") == 0.25
    assert parse_time(None) is None
    assert parse_time("") is None
