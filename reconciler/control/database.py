"""state.db: what the store remembers over a restart. Losing it loses history, never containers.

Written behind the store in one transaction per burst of changes. Only the store uses it.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import HostError, TerminalError
from reconciler.model.ref import Ref

log = logging.getLogger(__name__)

_LOCKED_SECONDS = 0.5  # how long somebody else may hold it: the loop waits meanwhile
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT, namespace TEXT, name TEXT, created_at REAL, generation INTEGER,
    fingerprint TEXT, status TEXT, PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    namespace TEXT, name TEXT, value TEXT, PRIMARY KEY (namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is kept of an object: the rest comes from its manifest."""

    created_at: float
    generation: int
    fingerprint: str
    status: Mapping[str, Any]


class _Damaged(Exception):
    """The file is no database, or not a whole one."""


class Database:
    """The SQLite file. A file that is damaged is set aside and begun anew: it holds history only."""

    def __init__(self, path: Path) -> None:
        """Raises: HostError(reason="StateUnreadable") when the file cannot be used: a full disk, no permission."""
        self._path = path
        try:
            try:
                self._db = self._open()
            except _Damaged as e:
                aside = path.with_suffix(".damaged")
                log.error("%s is damaged (%s): history begins anew, the old file is kept as %s", path, e, aside)
                path.replace(aside)
                for leftover in (Path(f"{path}-wal"), Path(f"{path}-shm")):
                    leftover.unlink(missing_ok=True)
                self._db = self._open()
        except (sqlite3.Error, OSError) as e:
            raise HostError(f"cannot keep state in {path}: {e}", reason="StateUnreadable") from e

    def _open(self) -> sqlite3.Connection:
        if str(self._path) != ":memory:":  # it holds the content of Secrets: SQLite would make it for all to read
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=_LOCKED_SECONDS)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise _Damaged(verdict)
        except sqlite3.OperationalError:  # the disk is full, or another process has it: nothing is wrong with the file
            db.close()
            raise
        except sqlite3.DatabaseError as e:
            db.close()
            raise _Damaged(str(e)) from e
        except _Damaged:
            db.close()
            raise
        return db

    def objects(self) -> dict[Ref, Remembered]:
        rows = self._db.execute(
            "SELECT kind, namespace, name, created_at, generation, fingerprint, status FROM objects"
        )
        return {
            Ref(kind, namespace, name): Remembered(created, generation, fingerprint, json.loads(status))
            for kind, namespace, name, created, generation, fingerprint, status in rows
        }

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(value) for (value,) in self._db.execute("SELECT value FROM events")]

    def files(self) -> dict[str, bytes]:
        return dict(self._db.execute("SELECT path, content FROM files"))

    def meta(self, key: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else ""

    def write(
        self,
        *,
        objects: Mapping[Ref, Remembered | None],
        events: Mapping[Ref, dict[str, Any] | None],
        files: Mapping[str, bytes] | None,
        meta: Mapping[str, str],
    ) -> None:
        """Write one burst of changes; None removes. `files` replaces all files when it is given.

        Raises: TerminalError(reason="StateUnwritable") when the disk is full or gone; nothing is written then.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._replace("objects", 3, ((*ref, _row(value)) for ref, value in objects.items()))
            self._replace("events", 2, ((r.namespace, r.name, v and (json.dumps(v),)) for r, v in events.items()))
            if files is not None:
                self._db.execute("DELETE FROM files")
                self._db.executemany("INSERT INTO files VALUES (?, ?)", files.items())
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            self._db.execute("COMMIT")
        except sqlite3.Error as e:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise TerminalError(f"{self._path}: cannot write state: {e}", reason="StateUnwritable") from e

    def _replace(self, table: str, keys: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows are the primary key's columns and then a tuple of the others, or None to delete."""
        names = ("kind", "namespace", "name")[-keys:]
        where = " AND ".join(f"{name} = ?" for name in names)
        for *key, rest in rows:
            if rest is None:
                self._db.execute(f"DELETE FROM {table} WHERE {where}", key)  # noqa: S608 both are constants
            else:
                marks = ", ".join("?" * (keys + len(rest)))
                self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", (*key, *rest))  # noqa: S608

    def close(self) -> None:
        self._db.close()


def _row(value: Remembered | None) -> tuple[Any, ...] | None:
    if value is None:
        return None
    return (value.created_at, value.generation, value.fingerprint, json.dumps(dict(value.status)))
