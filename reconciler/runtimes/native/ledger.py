"""What this instance made, written down before it is made.

The kernel forgets nothing by itself and tells nobody who made what: after a kill at any
moment the ledger says which mounts, namespaces, cgroups and processes have an owner, and
all others that carry the instance's id are swept. One writer; the rows are kept in memory,
so that looking at the world reads no database.

Contents of volumes are not kept, nor is the environment: no secret comes here.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.errors import ConflictError
from reconciler.model.ref import Ref
from reconciler.model.sandbox import (
    Dns,
    EmptyDir,
    Files,
    HostPath,
    Port,
    Resources,
    SandboxConfig,
    Volume,
)
from reconciler.plan import addresses

_LEASE_KEPT_SECONDS = 3600.0
_RESERVE_BYTES = 1 << 18

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sandboxes (id TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS containers (id TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    address TEXT PRIMARY KEY, namespace TEXT NOT NULL, pod TEXT NOT NULL,
    sandbox_id TEXT NOT NULL, released_at REAL NOT NULL);
"""


class Phase(StrEnum):
    """How far the engine got. MAKING and REMOVING are written before that is begun, the others after."""

    MAKING = "making"
    REMOVING = "removing"
    MADE = "made"
    STARTED = "started"
    EXITED = "exited"


HALF = (Phase.MAKING, Phase.REMOVING)
"""Found in a ledger at `open`, these were interrupted."""


@dataclass(frozen=True, slots=True)
class SandboxRow:
    """A sandbox. `config` is without the contents of Files volumes."""

    id: str
    pod: Ref
    spec_hash: str
    attempt: int
    created_at: float
    config: SandboxConfig
    address: str = ""  # "" with hostNetwork
    volume_hashes: Mapping[str, str] = field(default_factory=dict)
    phase: Phase = Phase.MAKING
    grace_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """A container. A process is named by its id and its start (kernel.process_started)."""

    id: str
    pod: Ref
    sandbox_id: str
    name: str
    spec_hash: str
    attempt: int
    backoff_level: int
    created_at: float
    image: str
    image_id: str = ""
    resources: Resources = field(default_factory=Resources)
    stop_signal: int = 15
    phase: Phase = Phase.MAKING
    pid: int = 0
    pid_started: int = 0
    monitor: int = 0
    monitor_started: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    message: str = ""


class _Lease(NamedTuple):
    """Of an address. `sandbox_id` is "" once it was released, and only set aside for its pod."""

    namespace: str
    pod: str
    sandbox_id: str
    released_at: float


class Ledger:
    """The rows of engine.db. Every `put` is one transaction, on disk as far as a kill can tell."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        # what a power cut takes from the log it takes from the kernel too; the sweep finds the directories
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._reserve()
        self.sandboxes: dict[str, SandboxRow] = {
            id: _sandbox(row) for id, row in self._db.execute("SELECT id, row FROM sandboxes")
        }
        self.containers: dict[str, ContainerRow] = {
            id: _container(row) for id, row in self._db.execute("SELECT id, row FROM containers")
        }
        self._of_pod: dict[Ref, dict[str, None]] = {}  # ids of its sandboxes and containers
        rows: list[SandboxRow | ContainerRow] = [*self.sandboxes.values(), *self.containers.values()]
        for made in rows:
            self._of_pod.setdefault(made.pod, {})[made.id] = None
        self._leases = {
            IPv4Address(address): _Lease(*lease)
            for address, *lease in self._db.execute("SELECT * FROM leases ORDER BY released_at")
        }
        self.instance = self.setting("instance") or secrets.token_hex(4)
        self.put_setting("instance", self.instance)

    def setting(self, key: str) -> str:
        """The value of a setting, "" when it was never set."""
        row = self._db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return row[0] if row else ""

    def put_setting(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO settings VALUES (?, ?)", key, value)

    def put_sandbox(self, row: SandboxRow) -> SandboxRow:
        self._write("INSERT OR REPLACE INTO sandboxes VALUES (?, ?)", row.id, _encode(row))
        self.sandboxes[row.id] = row
        self._of_pod.setdefault(row.pod, {})[row.id] = None
        return row

    def put_container(self, row: ContainerRow) -> ContainerRow:
        self._write("INSERT OR REPLACE INTO containers VALUES (?, ?)", row.id, _encode(row))
        self.containers[row.id] = row
        self._of_pod.setdefault(row.pod, {})[row.id] = None
        return row

    def drop_sandbox(self, id: str, now: float) -> None:
        """Forget a sandbox; its address stays set aside for the same pod for a while."""
        for address, lease in list(self._leases.items()):
            if lease.sandbox_id == id:
                self._put_lease(address, lease._replace(sandbox_id="", released_at=now))
        self._write("DELETE FROM sandboxes WHERE id = ?", id)
        self._forget(id, self.sandboxes.pop(id, None))

    def drop_container(self, id: str) -> None:
        self._write("DELETE FROM containers WHERE id = ?", id)
        self._forget(id, self.containers.pop(id, None))

    def pods(self) -> Iterable[Ref]:
        """Every pod of which there is a row."""
        return tuple(self._of_pod)

    def of_pod(self, pod: Ref) -> tuple[list[SandboxRow], list[ContainerRow]]:
        """The rows of one pod, in no order."""
        ids = self._of_pod.get(pod, {})
        return (
            [self.sandboxes[id] for id in ids if id in self.sandboxes],
            [self.containers[id] for id in ids if id in self.containers],
        )

    def _forget(self, id: str, row: SandboxRow | ContainerRow | None) -> None:
        if row is None:
            return
        ids = self._of_pod[row.pod]
        del ids[id]
        if not ids:
            del self._of_pod[row.pod]

    def lease(self, network: IPv4Network, pod: Ref, sandbox_id: str, now: float) -> IPv4Address:
        """The address of a sandbox: the one it has, else the one its pod had, else a free one.

        Raises: ConflictError(reason="AddressesExhausted").
        """
        mine = next((a for a, lease in self._leases.items() if lease.sandbox_id == sandbox_id), None)
        if mine is not None and mine in network:
            return mine
        in_use, set_aside, preferred = set(), set(), None
        for address, lease in self._leases.items():
            if lease.sandbox_id:
                in_use.add(address)
            elif (lease.namespace, lease.pod) == (pod.namespace, pod.name):
                preferred = address
            elif lease.released_at > now - _LEASE_KEPT_SECONDS:
                set_aside.add(address)
        try:
            address = addresses.pick(network, in_use | set_aside, preferred)
        except ConflictError:
            address = addresses.pick(network, in_use, preferred)
        self._put_lease(address, _Lease(pod.namespace, pod.name, sandbox_id, 0.0))
        return address

    def _put_lease(self, address: IPv4Address, lease: _Lease) -> None:
        self._write("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", str(address), *lease)
        self._leases[address] = lease

    def _write(self, statement: str, *values: Any) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            # the log may not grow: have the reserve take what is in it, and write it from its start
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")
            self._db.execute(statement, values)

    def _reserve(self) -> None:
        """Keep free pages in the files, so that on a full disk there is room to note what is removed."""
        (page_bytes,), (free,) = (self._db.execute(f"PRAGMA {p}").fetchone() for p in ("page_size", "freelist_count"))
        if free * page_bytes >= _RESERVE_BYTES / 2:
            return
        try:
            self._db.execute("CREATE TABLE IF NOT EXISTS reserve (bytes BLOB)")
            self._db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_RESERVE_BYTES,))
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")
            self._db.execute("DROP TABLE reserve")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise

    def close(self) -> None:
        self._db.close()


def without_contents(config: SandboxConfig) -> SandboxConfig:
    """The same sandbox, with Files volumes that hold nothing."""
    volumes = tuple(replace(v, files=()) if isinstance(v, Files) else v for v in config.volumes)
    return replace(config, volumes=volumes)


_VOLUMES: Mapping[str, type[EmptyDir] | type[HostPath] | type[Files]] = {
    "EmptyDir": EmptyDir,
    "HostPath": HostPath,
    "Files": Files,
}


def _encode(row: SandboxRow | ContainerRow) -> str:
    return json.dumps(row, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    """One dataclass, not deeper: what lies in it comes here by itself. Contents of volumes are left out."""
    found = {name: getattr(value, name) for name in value.__slots__ if name != "files"}
    if isinstance(value, Volume):
        return {"is": type(value).__name__, **found}
    return found


def _sandbox(text: str) -> SandboxRow:
    data: dict[str, Any] = json.loads(text)
    config: dict[str, Any] = data.pop("config")
    config["pod"] = Ref(*config["pod"])
    config["ports"] = tuple(Port(**port) for port in config["ports"])
    dns: dict[str, Any] = config["dns"]
    lists = {key: tuple(dns[key]) for key in ("nameservers", "searches", "options")}
    config["dns"] = Dns(from_host=dns["from_host"], **lists)
    config["hosts"] = tuple((address, tuple(names)) for address, names in config["hosts"])
    config["sysctls"] = tuple((key, value) for key, value in config["sysctls"])
    config["volumes"] = tuple(_volume(volume) for volume in config["volumes"])
    return SandboxRow(
        **{**data, "pod": Ref(*data["pod"]), "phase": Phase(data["phase"]), "config": SandboxConfig(**config)}
    )


def _volume(data: dict[str, Any]) -> Volume:
    return _VOLUMES[data.pop("is")](**data)


def _container(text: str) -> ContainerRow:
    data: dict[str, Any] = json.loads(text)
    return ContainerRow(
        **{
            **data,
            "pod": Ref(*data["pod"]),
            "phase": Phase(data["phase"]),
            "resources": Resources(**data["resources"]),
        }
    )
