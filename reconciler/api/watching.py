"""Lists and watches of the store's objects, as the Kubernetes API gives them.

A list carries the version it was made at; a watch from that version misses nothing that
came after. A watch that asks for more than the store remembers is told so (410, Expired)
and the client lists again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from reconciler.api.failures import expired, not_found
from reconciler.api.queries import ListQuery, continue_token
from reconciler.api.resources import Resource
from reconciler.api.selectors import Selection
from reconciler.control.records import Change, EventRecord, Record
from reconciler.control.store import Store
from reconciler.errors import TransientError
from reconciler.model.ref import Ref

Json = Mapping[str, Any]
_BOOKMARK_SECONDS = 60.0
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Page(NamedTuple):
    """Part of a list. `metadata` is that of the list object."""

    items: list[dict[str, Any]]
    metadata: dict[str, Any]


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (then the object is a Status)."""

    type: str
    object: Json


def records_of(store: Store, resource: Resource, namespace: str = "") -> Sequence[Record | EventRecord]:
    """The objects of one kind: by namespace and name, but events by time. `namespace` "" is all."""
    if resource.kind == "Event":
        return [event for event in store.events() if namespace in ("", event.ref.namespace)]
    return store.list(resource.kind, namespace or None)


def find(store: Store, resource: Resource, ref: Ref) -> dict[str, Any]:
    """One object. Raises: Failure 404."""
    if ref.kind == "Event":
        events = (event for event in store.events() if event.ref == ref)
        record: Record | EventRecord | None = next(events, None)
    else:
        record = store.get(ref)
    if record is None:
        raise not_found(resource.plural, resource.group, ref.name)
    return record.to_json()


def list_page(store: Store, resource: Resource, query: ListQuery) -> Page:
    """The items that `query` selects, from behind its `after`, at most `limit` of them."""
    version = query.after_version or store.resource_version
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    records = records_of(store, resource, query.selection.namespace)
    behind = [record for record in records if not query.after or _key(record) > query.after]
    items: list[dict[str, Any]] = []
    for position, record in enumerate(behind):
        item = record.to_json()
        if not query.selection.matches(item):
            continue
        if query.limit and len(items) == query.limit:
            metadata["continue"] = continue_token(_key(behind[position - 1]), version)
            if query.selection.is_whole:
                metadata["remainingItemCount"] = len(behind) - position
            break
        items.append(item)
    return Page(items, metadata)


def _key(record: Record | EventRecord) -> tuple[str, ...]:
    """By what a list is in order."""
    if isinstance(record, EventRecord):
        return (f"{record.last_at:020.6f}", f"{record.resource_version:020}")
    return (record.ref.namespace, record.ref.name)


async def watch(store: Store, resource: Resource, query: ListQuery) -> AsyncGenerator[WatchEvent, None]:
    """The changes of what `query` selects, until its timeout or the store's end."""
    version = store.resource_version
    if query.since is None:
        for record in records_of(store, resource, query.selection.namespace):
            if query.selection.matches(item := record.to_json()):
                yield WatchEvent("ADDED", item)
        if query.initial_events:
            yield _bookmark(resource, version, {_INITIAL_EVENTS_END: "true"})
    elif query.since > version:  # of another life of this state: nothing of it is true any more
        yield WatchEvent("ERROR", expired(query.since, version).to_json())
        return
    else:
        version = query.since
    try:
        async with aclosing(_paced(store, version, query)) as changes:
            async for change in changes:
                if change is None:
                    yield _bookmark(resource, version)
                    continue
                version = change.record.resource_version
                if change.record.ref.kind == resource.kind and (event := _select(change, query.selection)):
                    yield event
    except TransientError as error:
        if error.reason != "Expired":
            raise
        yield WatchEvent("ERROR", expired(version, store.resource_version).to_json())


def _select(change: Change, selection: Selection) -> WatchEvent | None:
    """What a change is to somebody who sees only the selected: an object whose labels change may
    appear or vanish."""
    item = change.record.to_json()
    is_one = change.type != "DELETED" and selection.matches(item)
    was_one = change.previous is not None and selection.matches(change.previous.to_json())
    match was_one, is_one:
        case False, True:
            return WatchEvent("ADDED", item)
        case True, True:
            return WatchEvent("MODIFIED", item)
        case True, False:
            return WatchEvent("DELETED", item)
        case _:
            return None


async def _paced(store: Store, since: int, query: ListQuery) -> AsyncGenerator[Change | None, None]:
    """The store's changes, with None in between where a bookmark is due, until the timeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + query.timeout_seconds if query.timeout_seconds else float("inf")
    async with aclosing(store.watch(since)) as changes:
        pending: asyncio.Future[Change | None] | None = None
        try:
            while (left := deadline - loop.time()) > 0:
                if pending is None:
                    pending = asyncio.ensure_future(_next(changes))
                await asyncio.wait({pending}, timeout=min(left, _BOOKMARK_SECONDS))
                if pending.done():
                    change, pending = pending.result(), None
                    if change is None:
                        return
                    yield change
                elif query.bookmarks:
                    yield None
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})


async def _next(changes: AsyncGenerator[Change, None]) -> Change | None:
    return await anext(changes, None)


def _bookmark(resource: Resource, version: int, annotations: Mapping[str, str] | None = None) -> WatchEvent:
    metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return WatchEvent("BOOKMARK", {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": metadata})
