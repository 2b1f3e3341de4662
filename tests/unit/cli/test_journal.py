"""Log lines as text and as JSON."""

from __future__ import annotations

import json
import logging

from reconciler.cli.journal import Json, Plain


def record(message: str, *, fault: Exception | None = None, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "reconciler.x", "levelno": 30, "levelname": "WARNING", "msg": message, **extra}
    )
    made.created = 0.25
    if fault is not None:
        try:
            raise fault
        except Exception as error:
            made.exc_info = (type(error), error, error.__traceback__)
    return made


def test_a_line_of_text() -> None:
    made = record("pod default/web: started", seconds=0.2)
    assert Plain(False).format(made) == "1970-01-01T00:00:00.250Z WARNING pod default/web: started  seconds=0.2"


def test_a_line_of_json() -> None:
    assert json.loads(Json(False).format(record("started", ref="Pod/default/web"))) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "reconciler.x",
        "message": "started",
        "ref": "Pod/default/web",
    }


def test_an_error_is_one_line_and_a_traceback_only_with_v() -> None:
    made = record("step failed", fault=ValueError("a\nb"))
    text = Plain(False).format(made)
    assert text.endswith("WARNING step failed: ValueError: a b")
    assert "Traceback" in Plain(True).format(made)
    assert json.loads(Json(False).format(made))["error"] == "ValueError: a\nb"
    assert "traceback" not in json.loads(Json(False).format(made))
    assert "Traceback" in json.loads(Json(True).format(made))["traceback"]


def test_nothing_in_a_line_moves_the_cursor() -> None:
    assert "\x1b" not in Plain(False).format(record("\x1b[2J"))
