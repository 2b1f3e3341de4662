"""Log lines of the daemon in the foreground: text for people, JSON for machines; a traceback only with -v."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from reconciler.cli.table import visible

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def start(log_format: str, *, verbose: bool, level: int = logging.INFO, shown: bool = False) -> None:
    """Let what is logged go to standard error: from `level` on, or all if `verbose`; not when a table shows it."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbose else level)
    for name in ("asyncio", "aiohttp", "pyroute2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not shown:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Json(verbose) if log_format == "json" else Plain(verbose))
        root.addHandler(handler)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Plain(logging.Formatter):
    """`2026-11-23T17:42:01.123Z INFO pod default/web: started  key=value`, on one line without -v."""

    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f"  {key}={value}" for key, value in extras(record).items())
        text = visible(f"{_moment(record)} {record.levelname} {record.getMessage()}{fields}{_fault(record)}")
        if self._verbose and record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class Json(logging.Formatter):
    """One object a line: time, level, logger, message, what else the record carries, error."""

    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        value = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            value["error"] = _fault(record).removeprefix(": ")
            if self._verbose:
                value["traceback"] = self.formatException(record.exc_info)
        return json.dumps(value, default=str, ensure_ascii=False)


def extras(record: logging.LogRecord) -> dict[str, object]:
    """What was given as `extra=`."""
    return {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD}


def _fault(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return f": {type(error).__name__}: {error}" if error is not None else ""
