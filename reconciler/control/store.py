"""The store: what is declared, what its workloads made of it, and how all of it is.

It lives in memory, tells watchers of every change, and is written to state.db behind the
scenes. Everything happens on the event loop, between two awaits, so a reader never sees half a change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.control.database import Database, Remembered
from reconciler.control.records import Change, EventRecord, Record
from reconciler.errors import ReconcilerError, TransientError
from reconciler.manifest.problems import Problem
from reconciler.manifest.reader import Reading
from reconciler.model.kinds import Namespace, Object, Pod, ref_of
from reconciler.model.meta import ObjectMeta, to_json
from reconciler.model.ref import Ref
from reconciler.plan.resolve import uses
from reconciler.plan.restart import Failure
from reconciler.ports import Clock

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.2
_FLUSH_AGAIN_SECONDS = 10.0
_HISTORY = 10_000
_EVENTS_KEPT = 2_000
_EVENT_TTL_SECONDS = 3600.0
_QUEUE_LIMIT = 10_000


class Store:
    """The one owner of objects, statuses and events of an instance."""

    def __init__(self, database: Database, clock: Clock, instance: str, node: str = "") -> None:
        """`instance` is the id that uids are derived from, `node` the name of this machine."""
        self._database = database
        self._clock = clock
        self._node = node
        self._namespace_uuid = uuid.uuid5(uuid.NAMESPACE_OID, instance)
        self._records: dict[str, dict[Ref, Record]] = defaultdict(dict)
        self._children: dict[Ref, dict[Ref, None]] = {}
        self._users: dict[Ref, dict[Ref, None]] = {}  # ConfigMaps and Secrets -> pods
        self._events: dict[tuple[Ref, str, str], EventRecord] = {}
        self._failures: dict[Ref, dict[str, Failure]] = {}
        self._watchers: set[asyncio.Queue[Change | None]] = set()
        self._history: deque[tuple[int, Change]] = deque(maxlen=_HISTORY)
        self._dirty_objects: set[Ref] = set()
        self._dirty_events: dict[Ref, EventRecord | None] = {}
        self._dirty_files: Mapping[str, bytes] | None = None
        self._flush_handle: asyncio.TimerHandle | None = None
        self._remembered = database.objects()
        self.last_good: Mapping[str, bytes] = database.files()
        # what a list saw can be continued after a restart: versions only ever grow
        self.resource_version = int(database.meta("resource_version") or 0) + _HISTORY
        self._oldest_version = self.resource_version
        self.problems: tuple[Problem, ...] = ()
        self.revision = ""
        self.prune_blocked = ""  # why a removal is held back
        self.loaded = False  # whether desired state is known at all
        self._restore_events()

    # Reading

    def get(self, ref: Ref) -> Record | None:
        return self._records[ref.kind].get(ref)

    def list(self, kind: str, namespace: str | None = None) -> Sequence[Record]:
        """The records of a kind, by namespace and name; None is every namespace."""
        found = (r for r in self._records[kind].values() if namespace is None or r.ref.namespace == namespace)
        return sorted(found, key=lambda r: r.ref)

    def events(self) -> Sequence[EventRecord]:
        """All events of the last hour, oldest first."""
        since = self._clock.now() - _EVENT_TTL_SECONDS
        return sorted(
            (e for e in self._events.values() if e.last_at >= since), key=lambda e: (e.last_at, e.resource_version)
        )

    def children(self, owner: Ref) -> Sequence[Record]:
        return [r for ref in self._children.get(owner, ()) if (r := self.get(ref)) is not None]

    def users(self, ref: Ref) -> frozenset[Ref]:
        """The pods whose containers depend on the content of this ConfigMap or Secret."""
        return frozenset(self._users.get(ref, ()))

    def failures(self, ref: Ref) -> Mapping[str, Failure]:
        return self._failures.get(ref, {})

    def declared_count(self) -> Mapping[str, int]:
        """Objects from manifests, by kind."""
        counts = {kind: sum(1 for r in records.values() if r.file) for kind, records in self._records.items()}
        return {kind: count for kind, count in counts.items() if count}

    def uid(self, ref: Ref) -> str:
        """Derived, so that losing state.db gives every object the uid it had."""
        return str(uuid.uuid5(self._namespace_uuid, str(ref)))

    # Desired state

    def apply(self, reading: Reading, revision: str) -> set[Ref]:
        """Make `reading` what is declared; returns every ref that must be looked at."""
        changed: set[Ref] = set()
        wanted: dict[Ref, tuple[Object, str, int]] = {
            ref: (entry.object, entry.file, entry.line) for ref, entry in reading.objects.items()
        }
        for namespace in sorted({"default", *(ref.namespace for ref in wanted if ref.namespace)}):
            ref = Ref("Namespace", "", namespace)
            if ref not in wanted:
                wanted[ref] = (_implied_namespace(namespace), "", 0)
        for ref, (obj, file, line) in wanted.items():
            before = self.get(ref)
            if self._put(ref, obj, owner=None, file=file, line=line):
                changed.add(ref)
                if before is not None and before.owner is not None:
                    changed.add(before.owner)  # it lost one of its own to a manifest
        for records in (*self._records.values(),):
            for record in (*records.values(),):
                if record.owner is None and record.ref not in wanted and self._retire(record):
                    changed.add(record.ref)
        self.problems = reading.problems
        self.revision = revision
        if reading.last_good != self.last_good:
            self.last_good = self._dirty_files = reading.last_good
        self.loaded = True
        self._schedule_flush()
        return changed | {user for ref in changed for user in self._users.get(ref, ())}

    def set_children(self, owner: Ref, objects: Iterable[Object]) -> set[Ref]:
        """Make `objects` all that `owner` owns; returns the children that must be looked at.

        What is not there afterwards, or has another owner, was somebody else's before: it stays theirs.
        """
        wanted = {ref_of(obj): obj for obj in objects}
        changed = {
            ref
            for ref, obj in wanted.items()
            if not self._is_of_another(ref, owner) and self._put(ref, obj, owner=owner, file="", line=0)
        }
        for ref in (*self._children.get(owner, ()),):
            record = self.get(ref)
            if ref not in wanted and record is not None and self._retire(record):
                changed.add(ref)
        return changed

    def forget_unclaimed(self) -> None:
        """Drop what was remembered of objects that are no longer. All that are, are known when this is called."""
        self._dirty_objects.update(self._remembered)
        self._remembered.clear()
        self._schedule_flush()

    def remove(self, ref: Ref) -> None:
        """Drop an object of which nothing is left."""
        record = self._records[ref.kind].pop(ref, None)
        self._failures.pop(ref, None)
        self._remembered.pop(ref, None)
        self._dirty_objects.add(ref)
        self._schedule_flush()
        if record is None:
            return
        self._unlink(record)
        self._publish("DELETED", replace(record, resource_version=self._next_version()), record)

    # Status and events

    def set_status(self, ref: Ref, status: Mapping[str, Any]) -> bool:
        """Give an object its status; returns whether it differs from the one it had."""
        record = self.get(ref)
        if record is None or record.status == status:
            return False
        self._store(replace(record, status=status), "MODIFIED")
        return True

    def record_failure(self, ref: Ref, subject: str, error: ReconcilerError) -> None:
        """Count a failed step of a pod; the planner backs off by it."""
        failures = self._failures.setdefault(ref, {})
        count = failures[subject].count + 1 if subject in failures else 1
        after = error.retry_after_seconds if isinstance(error, TransientError) else None
        failures[subject] = Failure(error.reason, str(error), count, self._clock.now(), after)

    def clear_failure(self, ref: Ref, subject: str | None = None) -> None:
        """Forget the failures of one subject of a pod, or (None) of all of it."""
        if subject is None:
            self._failures.pop(ref, None)
        elif ref in self._failures:
            self._failures[ref].pop(subject, None)

    def event(self, about: Ref, reason: str, message: str, *, warning: bool = False) -> None:
        """Note that something happened; the same thing again is counted."""
        now = self._clock.now()
        key = (about, reason, message)
        before = self._events.pop(key, None)
        if before is not None:
            event = replace(before, last_at=now, count=before.count + 1, resource_version=self._next_version())
        else:
            digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
            event = EventRecord(
                ref=Ref("Event", about.namespace or "default", f"{about.name}.{digest}"),
                about=about,
                about_uid=self.uid(about),
                type="Warning" if warning else "Normal",
                reason=reason,
                message=message,
                first_at=now,
                last_at=now,
                resource_version=self._next_version(),
            )
        self._events[key] = event
        self._dirty_events[event.ref] = event
        self._publish("MODIFIED" if before else "ADDED", event, before)
        self._expire_events(now)
        self._schedule_flush()

    # Watching

    def changes_since(self, version: int) -> Sequence[Change]:
        """The changes after `version`. Raises TransientError(reason="Expired") if they are no longer all known."""
        if not self._oldest_version <= version <= self.resource_version:
            raise TransientError(f"the changes after version {version} are not known: list again", reason="Expired")
        return [change for at, change in self._history if at > version]

    async def watch(self, since: int | None = None) -> AsyncGenerator[Change, None]:
        """Every change from now on, or after version `since`, until the store closes.

        A watcher that falls behind by 10,000 changes is ended: it lists again.
        """
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        missed = self.changes_since(since) if since is not None else []
        self._watchers.add(queue)
        try:
            for change in missed:
                yield change
            while (following := await queue.get()) is not None:
                yield following
        finally:
            self._watchers.discard(queue)

    def close(self) -> None:
        """End all watches and write what is not written."""
        for queue in self._watchers:
            queue.put_nowait(None)
        self._flush()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        self._database.close()

    # Inside

    def _put(self, ref: Ref, obj: Object, *, owner: Ref | None, file: str, line: int) -> bool:
        before = self.get(ref)
        unchanged = before is not None and (before.object is obj or before.object == obj)
        if before is not None and unchanged and before.deleted_at is None and before.owner == owner:
            if (before.file, before.line) != (file, line):  # it moved: nothing to do for anybody else
                self._records[ref.kind][ref] = replace(before, file=file, line=line)
            return False
        if before is None:
            self._store(self._new_record(ref, obj, owner, file, line), "ADDED")
        else:
            generation = before.generation + (before.object != obj)
            self._store(
                replace(before, object=obj, owner=owner, file=file, line=line, generation=generation, deleted_at=None),
                "MODIFIED",
            )
        if before is not None:
            self._unlink(before)
        if owner is not None:
            self._children.setdefault(owner, {})[ref] = None
        if isinstance(obj, Pod):
            for used in uses(obj):
                self._users.setdefault(used, {})[ref] = None
            self.clear_failure(ref)
        return True

    def _unlink(self, record: Record) -> None:
        """Take an object out of what is known of its owner and of what it uses."""
        if record.owner is not None:
            _drop(self._children, record.owner, record.ref)
        if isinstance(record.object, Pod):
            for used in uses(record.object):
                _drop(self._users, used, record.ref)

    def _is_of_another(self, ref: Ref, owner: Ref) -> bool:
        record = self.get(ref)
        return record is not None and record.deleted_at is None and record.owner != owner

    def _new_record(self, ref: Ref, obj: Object, owner: Ref | None, file: str, line: int) -> Record:
        kept = self._remembered.pop(ref, None)
        record = Record(
            ref,
            obj,
            self.uid(ref),
            self._clock.now(),
            owner,
            file,
            line,
            node=self._node if isinstance(obj, Pod) else "",
        )
        if kept is None:
            return record
        changed = owner is None and kept.fingerprint != _fingerprint(obj)
        return replace(record, created_at=kept.created_at, generation=kept.generation + changed, status=kept.status)

    def _retire(self, record: Record) -> bool:
        """Take an object out of desired state. Pods stay until their pass has taken them down."""
        if record.deleted_at is not None:
            return False
        if isinstance(record.object, Pod):
            self._store(replace(record, deleted_at=self._clock.now()), "MODIFIED")
        else:
            self.remove(record.ref)
        return True

    def _store(self, record: Record, change: str) -> None:
        previous = self.get(record.ref)
        record = replace(record, resource_version=self._next_version())
        self._records[record.ref.kind][record.ref] = record
        self._dirty_objects.add(record.ref)
        self._publish(change, record, previous)
        self._schedule_flush()

    def _next_version(self) -> int:
        self.resource_version += 1
        return self.resource_version

    def _publish(self, kind: str, record: Record | EventRecord, previous: Record | EventRecord | None) -> None:
        change = Change(kind, record, previous)
        if len(self._history) == _HISTORY:
            self._oldest_version = self._history[0][0]
        self._history.append((record.resource_version, change))
        for queue in (*self._watchers,):
            behind = queue.qsize() >= _QUEUE_LIMIT
            queue.put_nowait(None if behind else change)
            if behind:
                self._watchers.discard(queue)

    def _expire_events(self, now: float) -> None:
        """The first entries are the oldest: an event that repeats moves to the end."""
        while self._events:
            key, oldest = next(iter(self._events.items()))
            if len(self._events) <= _EVENTS_KEPT and now - oldest.last_at <= _EVENT_TTL_SECONDS:
                return
            del self._events[key]
            self._dirty_events[oldest.ref] = None

    def _restore_events(self) -> None:
        restored = []
        for value in self._database.events():
            value["ref"], value["about"] = Ref(*value["ref"]), Ref(*value["about"])
            restored.append(EventRecord(**value))
        for event in sorted(restored, key=lambda e: e.last_at):
            self._events[event.about, event.reason, event.message] = event

    def _schedule_flush(self) -> None:
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        objects = {ref: self._to_remember(ref) for ref in self._dirty_objects}
        events = {ref: None if e is None else _event_row(e) for ref, e in self._dirty_events.items()}
        try:
            self._database.write(
                objects=objects,
                events=events,
                files=self._dirty_files,
                meta={"resource_version": str(self.resource_version)},
            )
        except ReconcilerError as e:
            log.error("%s; what runs is not affected", e)
            self._flush_handle = asyncio.get_running_loop().call_later(_FLUSH_AGAIN_SECONDS, self._flush)
            return
        self._dirty_objects.clear()
        self._dirty_events.clear()
        self._dirty_files = None

    def _to_remember(self, ref: Ref) -> Remembered | None:
        record = self.get(ref)
        if record is None:
            return None
        fingerprint = _fingerprint(record.object) if record.owner is None else ""
        return Remembered(record.created_at, record.generation, fingerprint, record.status)


def _drop(index: dict[Ref, dict[Ref, None]], key: Ref, ref: Ref) -> None:
    """Remove `ref` from an index, and the key with its last one."""
    refs = index.get(key, {})
    refs.pop(ref, None)
    if not refs:
        index.pop(key, None)


def _event_row(event: EventRecord) -> dict[str, Any]:
    return {name: getattr(event, name) for name in EventRecord.__dataclass_fields__ if name != "deleted_at"}


def _fingerprint(obj: Object) -> str:
    return hashlib.sha256(json.dumps(to_json(obj), sort_keys=True).encode()).hexdigest()[:16]


def _implied_namespace(name: str) -> Namespace:
    """A namespace that objects are in and nobody declares exists, as `default` does."""
    return Namespace.model_construct(api_version="v1", kind="Namespace", metadata=ObjectMeta.model_construct(name=name))
