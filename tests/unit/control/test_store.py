"""The store: generations, versions, owners, watches, events, and what outlives a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.control.database import Database
from reconciler.control.records import Change
from reconciler.control.store import Store
from reconciler.errors import HostError, TerminalError, TransientError
from reconciler.manifest.reader import Reader, Reading
from reconciler.model.kinds import Object
from reconciler.model.ref import Ref

WEB = Ref("Pod", "default", "web")
SET = Ref("ReplicaSet", "default", "set")
CONF = Ref("ConfigMap", "default", "conf")
POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}}}\nspec: {{containers: [{{name: main, image: '{}'}}]}}\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {A: '%s'}\n"
USER = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
    "spec: {containers: [{name: main, image: web, envFrom: [{configMapRef: {name: conf}}]}]}\n"
)


def pod(name: str = "web", image: str = "web:1") -> str:
    return POD.format(name, image)


def read(**files: str) -> Reading:
    return Reader().read({f"{name}.yaml": text.encode() for name, text in files.items()})


def objects(**files: str) -> list[Object]:
    return [entry.object for entry in read(**files).objects.values()]


@dataclass
class Clock:
    at: float = 1_790_000_000.0

    def now(self) -> float:
        return self.at


@dataclass
class Shelf:
    """A place for one store after another."""

    path: Path
    clock: Clock = field(default_factory=Clock)

    def open(self, instance: str = "one") -> Store:
        return Store(Database(self.path), self.clock, instance, "here")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "state.db")


def version(store: Store, ref: Ref) -> int:
    record = store.get(ref)
    assert record is not None
    return record.resource_version


# Desired state


async def test_only_what_changed_is_looked_at(shelf: Shelf) -> None:
    store = shelf.open()
    assert WEB in store.apply(read(web=pod()), "r1")
    assert store.apply(read(web=pod()), "r2") == set()
    assert store.apply(read(moved=pod()), "r3") == set()
    record = store.get(WEB)
    assert record is not None
    assert (record.file, record.generation) == ("moved.yaml", 1)
    before = record.resource_version
    assert store.apply(read(web=pod(image="web:2")), "r4") == {WEB}
    record = store.get(WEB)
    assert record is not None
    assert record.generation == 2
    assert record.resource_version > before
    assert store.revision == "r4"
    store.close()


async def test_a_pod_that_goes_stays_until_its_pass_is_done_and_may_come_back(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    assert store.apply(read(), "r2") == {WEB}
    assert store.apply(read(), "r3") == set()
    record = store.get(WEB)
    assert record is not None and record.deleted_at == shelf.clock.at
    assert store.apply(read(web=pod()), "r4") == {WEB}
    record = store.get(WEB)
    assert record is not None and record.deleted_at is None and record.generation == 1
    store.apply(read(), "r5")
    store.remove(WEB)
    assert store.get(WEB) is None
    store.close()


async def test_who_uses_a_config_is_looked_at_when_it_comes_changes_and_goes(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=USER), "r1")
    for text in (CONFIG % 1, CONFIG % 2):
        assert store.apply(read(web=USER, conf=text), "r") == {WEB, CONF}
    assert store.apply(read(web=USER), "r") == {WEB, CONF}
    store.apply(read(web=pod()), "r")
    assert store.apply(read(web=pod(), conf=CONFIG % 3), "r") == {CONF}
    store.close()


async def test_namespaces_that_nobody_declares_exist_while_something_is_in_them(shelf: Shelf) -> None:
    store = shelf.open()
    there = pod().replace("name: web}", "name: web, namespace: shop}", 1)
    declared = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {a: b}}\n"
    store.apply(read(web=there, ns=declared), "r")
    store.apply(read(web=there), "r")
    assert [r.ref.name for r in store.list("Namespace")] == ["default", "shop"]
    assert store.declared_count() == {"Pod": 1}
    store.apply(read(), "r")
    assert [r.ref.name for r in store.list("Namespace")] == ["default"]
    store.close()


# Owners


async def test_children_come_and_go_with_their_owner(shelf: Shelf) -> None:
    store = shelf.open()
    one, two = objects(a=pod("a"), b=pod("b"))
    a, b = Ref("Pod", "default", "a"), Ref("Pod", "default", "b")
    assert store.set_children(SET, [one, two]) == {a, b}
    assert store.set_children(SET, [one, two]) == set()
    assert store.set_children(SET, [one]) == {b}
    assert [r.ref for r in store.children(SET)] == [a, b]
    store.remove(b)
    assert [r.ref for r in store.children(SET)] == [a]
    assert store.set_children(SET, []) == {a}
    assert store.apply(read(), "r") == {Ref("Namespace", "", "default")}, "they are not the manifests' to prune"
    store.close()


async def test_a_declared_pod_is_not_taken_over_by_a_workload_that_wants_its_name(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    assert store.set_children(SET, objects(web=pod(image="other"))) == set()
    record = store.get(WEB)
    assert record is not None and record.owner is None and record.file == "web.yaml"
    assert store.children(SET) == []
    store.close()


async def test_what_is_declared_later_is_taken_from_its_workload_and_not_pruned_with_it(shelf: Shelf) -> None:
    store = shelf.open()
    store.set_children(SET, objects(web=pod()))
    assert WEB in store.apply(read(web=pod()), "r1")
    record = store.get(WEB)
    assert record is not None and record.owner is None and record.generation == 1
    assert store.set_children(SET, []) == set()
    assert record is store.get(WEB)
    store.close()


async def test_a_workload_takes_a_name_once_it_is_given_up(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    store.apply(read(), "r2")
    assert store.set_children(SET, objects(web=pod())) == {WEB}
    record = store.get(WEB)
    assert record is not None and record.owner == SET and record.deleted_at is None
    store.close()


# Versions and watches


async def test_versions_only_grow_also_over_restarts(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    store.set_status(WEB, {"phase": "Running"})
    last = store.resource_version
    assert version(store, WEB) == last
    store.close()
    again = shelf.open()
    assert again.resource_version > last
    again.apply(read(web=pod()), "r1")
    assert version(again, WEB) > last
    again.close()


async def test_an_unchanged_status_is_no_change(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    assert store.set_status(WEB, {"phase": "Running"})
    before = store.resource_version
    assert not store.set_status(WEB, {"phase": "Running"})
    assert not store.set_status(Ref("Pod", "default", "none"), {"phase": "Running"})
    assert store.resource_version == before
    store.close()


async def test_changes_since_a_version(shelf: Shelf) -> None:
    store = shelf.open()
    start = store.resource_version
    store.apply(read(web=pod()), "r1")
    middle = store.resource_version
    store.set_status(WEB, {"phase": "Running"})
    store.remove(WEB)
    found = [(c.type, c.record.ref.name) for c in store.changes_since(start) if c.record.ref.kind == "Pod"]
    assert found == [("ADDED", "web"), ("MODIFIED", "web"), ("DELETED", "web")]
    assert [c.type for c in store.changes_since(middle)] == ["MODIFIED", "DELETED"]
    assert store.changes_since(store.resource_version) == []
    versions = [c.record.resource_version for c in store.changes_since(start)]
    assert versions == sorted(set(versions))
    for unknown in (start - 1, store.resource_version + 1):
        with pytest.raises(TransientError) as caught:
            store.changes_since(unknown)
        assert caught.value.reason == "Expired"
    store.close()


async def test_changes_that_are_no_longer_kept_are_expired(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.control.store._HISTORY", 3)
    store = shelf.open()
    store.apply(read(), "r")
    start = store.resource_version
    for number in range(3):
        store.event(WEB, f"Reason{number}", "said")
    assert len(store.changes_since(start)) == 3
    store.event(WEB, "Reason4", "said")
    assert len(store.changes_since(start + 1)) == 3
    with pytest.raises(TransientError):
        store.changes_since(start)
    store.close()


async def test_a_watch_gives_what_was_missed_and_what_comes_and_ends_with_the_store(shelf: Shelf) -> None:
    store = shelf.open()
    start = store.resource_version
    store.apply(read(), "r1")
    seen: list[Change] = []
    began = asyncio.Event()

    async def follow() -> None:
        async for change in store.watch(start):
            seen.append(change)
            began.set()

    task = asyncio.create_task(follow())
    await began.wait()
    store.apply(read(web=pod()), "r2")
    store.set_status(WEB, {"phase": "Running"})
    store.close()
    await asyncio.wait_for(task, 5)
    assert [(c.type, str(c.record.ref)) for c in seen] == [
        ("ADDED", "Namespace/default"),
        ("ADDED", "Pod/default/web"),
        ("MODIFIED", "Pod/default/web"),
    ]
    assert seen[2].previous == seen[1].record


async def test_a_watcher_that_does_not_keep_up_is_ended_and_holds_no_more(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.control.store._QUEUE_LIMIT", 5)
    store = shelf.open()
    slow = store.watch()
    first = asyncio.ensure_future(anext(slow))
    await asyncio.sleep(0)
    for number in range(50):
        store.event(WEB, f"Reason{number}", "said")
    assert not store._watchers, "what it does not take is not kept for it"
    assert (await first).type == "ADDED"
    assert len([change async for change in slow]) <= 5
    store.close()


# Events


async def test_repeated_events_are_counted(shelf: Shelf) -> None:
    store = shelf.open()
    store.event(WEB, "BackOff", "said", warning=True)
    first = shelf.clock.at
    shelf.clock.at += 10
    store.event(WEB, "Started", "other")
    shelf.clock.at += 10
    store.event(WEB, "BackOff", "said", warning=True)
    started, backoff = store.events()
    assert (started.reason, started.type, started.count) == ("Started", "Normal", 1)
    assert (backoff.reason, backoff.type, backoff.count) == ("BackOff", "Warning", 2)
    assert (backoff.first_at, backoff.last_at) == (first, shelf.clock.at)
    assert backoff.about_uid == store.uid(WEB)
    store.close()


async def test_events_are_forgotten_after_an_hour(shelf: Shelf) -> None:
    store = shelf.open()
    store.event(WEB, "Old", "said")
    shelf.clock.at += 3601
    assert store.events() == []
    store.event(WEB, "New", "said")
    store.close()
    assert [value["reason"] for value in Database(shelf.path).events()] == ["New"]


async def test_only_so_many_events_are_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.control.store._EVENTS_KEPT", 3)
    store = shelf.open()
    for reason in "abcad":
        shelf.clock.at += 1
        store.event(WEB, reason, "said")
    assert [event.reason for event in store.events()] == ["c", "a", "d"]
    store.close()


# Over a restart


async def test_what_a_restart_remembers(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    store.apply(read(web=pod(image="web:2")), "r2")
    store.set_status(WEB, {"phase": "Running"})
    store.event(WEB, "Started", "said")
    born = shelf.clock.at
    store.close()
    shelf.clock.at += 100
    again = shelf.open()
    assert again.last_good == {"web.yaml": pod(image="web:2").encode()}
    again.apply(read(web=pod(image="web:2")), "r2")
    record = again.get(WEB)
    assert record is not None
    assert (record.created_at, record.generation, record.status) == (born, 2, {"phase": "Running"})
    assert [(e.reason, e.count, e.about) for e in again.events()] == [("Started", 1, WEB)]
    again.event(WEB, "Started", "said")
    assert [e.count for e in again.events()] == [2]
    again.close()


async def test_what_changed_while_no_daemon_ran_is_a_new_generation(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    store.close()
    again = shelf.open()
    again.apply(read(web=pod(image="web:2")), "r2")
    record = again.get(WEB)
    assert record is not None and record.generation == 2
    again.close()


async def test_what_is_no_longer_declared_is_not_remembered_for_a_namesake(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod(), conf=CONFIG % 1), "r1")
    store.close()
    shelf.clock.at += 100
    again = shelf.open()
    again.apply(read(), "r2")
    again.forget_unclaimed()
    again.apply(read(web=pod(), conf=CONFIG % 2), "r3")
    for ref in (WEB, CONF):
        record = again.get(ref)
        assert record is not None and (record.created_at, record.generation) == (shelf.clock.at, 1)
    again.close()


async def test_what_is_removed_is_removed_from_the_disk(shelf: Shelf) -> None:
    store = shelf.open()
    store.apply(read(web=pod()), "r1")
    store.close()
    again = shelf.open()
    again.remove(WEB)
    again.close()
    assert WEB not in Database(shelf.path).objects()


@pytest.mark.parametrize("lost", [False, True])
async def test_uids_are_derived_and_survive_the_loss_of_everything(shelf: Shelf, lost: bool) -> None:
    store = shelf.open()
    uid = store.uid(WEB)
    assert uid == "bcc90b93-8c66-58c8-a8ec-805bfdd6f14b"
    assert uid != store.uid(Ref("Pod", "other", "web"))
    store.close()
    if lost:
        shelf.path.unlink()
    again = shelf.open()
    assert again.uid(WEB) == uid
    other = Store(Database(Path(":memory:")), shelf.clock, "two")
    assert other.uid(WEB) != uid
    other.close()
    again.close()


# A bad disk


def scribble(path: Path) -> None:
    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [scribble, cut, corrupt])
async def test_a_damaged_file_is_set_aside_and_history_begins_anew(
    shelf: Shelf, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = shelf.open()
    store.apply(read(**{f"web{n}": pod(f"web{n}") for n in range(50)}), "r1")
    store.close()
    harm(shelf.path)
    again = shelf.open()
    assert again.last_good == {}
    again.apply(read(web=pod()), "r2")
    again.close()
    assert shelf.path.with_suffix(".damaged").exists()
    assert "history begins anew" in caplog.text
    assert WEB in Database(shelf.path).objects()


async def test_a_good_file_that_cannot_be_opened_is_not_set_aside(shelf: Shelf) -> None:
    store = shelf.open()
    store.close()
    other = sqlite3.connect(shelf.path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(HostError, match="locked") as caught:
            shelf.open()
        assert str(shelf.path) in str(caught.value)
    finally:
        other.close()
    assert not shelf.path.with_suffix(".damaged").exists()


async def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"state\.db"):
        Database(tmp_path / "missing" / "state.db")


async def test_a_full_disk_loses_nothing_that_is_written_later(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = shelf.open()
    write = Database.write

    def full(*_: Any, **__: Any) -> None:
        raise TerminalError("disk full", reason="StateUnwritable")

    monkeypatch.setattr(Database, "write", full)
    monkeypatch.setattr("reconciler.control.store._FLUSH_SECONDS", 0.0)
    monkeypatch.setattr("reconciler.control.store._FLUSH_AGAIN_SECONDS", 0.02)
    store.apply(read(web=pod()), "r1")
    async with asyncio.timeout(5):
        while "what runs is not affected" not in caplog.text:
            await asyncio.sleep(0.001)
    monkeypatch.setattr(Database, "write", write)
    async with asyncio.timeout(5):
        while WEB not in (kept := _on_disk(shelf.path)):
            await asyncio.sleep(0.005)
    assert kept
    store.close()


async def test_a_burst_is_one_write(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shelf.open()
    writes = []
    write = Database.write

    def counted(self: Database, **what: Any) -> None:
        writes.append(what)
        write(self, **what)

    monkeypatch.setattr(Database, "write", counted)
    for number in range(20):
        store.event(WEB, f"Reason{number}", "said")
        store.apply(read(**{f"web{number}": pod(f"web{number}")}), "r")
    store.close()
    assert len(writes) == 1
    store = shelf.open()
    assert len(store.events()) == 20
    store.close()


def _on_disk(path: Path) -> set[Ref]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return {Ref(*row) for row in db.execute("SELECT kind, namespace, name FROM objects")}
    finally:
        db.close()
