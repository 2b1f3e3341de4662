"""What the live table of `watch` shows: objects to lines of words. Pure; drawing is in `live`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.api.podtext import pod_cells
from reconciler.api.tables import human_duration
from reconciler.cli.ages import parse_time

Json = Mapping[str, Any]
KINDS = ("Deployment", "ReplicaSet", "Pod")  # those that run; the rest is counted in the heading
PROBLEMS_SHOWN = 4


class Happening(NamedTuple):
    """The last event of an object; `at` is seconds since the epoch."""

    reason: str
    message: str
    warning: bool
    at: float


class Entry(NamedTuple):
    """One object. `owner` is (kind, name), or None. `well` says that nobody needs to look at it."""

    kind: str
    namespace: str
    name: str
    owner: tuple[str, str] | None
    state: str
    ready: str
    restarts: int
    born: float | None
    well: bool

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name


class Line(NamedTuple):
    """A row of the table. `depth` is how far it stands in, below its owner."""

    depth: int
    name: str
    state: str
    ready: str
    restarts: str
    age: str
    event: str
    warning: bool


class Board(NamedTuple):
    """All that is shown. Equal boards look the same, so an equal one need not be drawn."""

    folder: str
    revision: str
    verdict: str  # in sync | converging | 2 problems | removal held back
    counts: str
    problems: tuple[str, ...]
    lines: tuple[Line, ...]
    hidden: int  # rows that do not fit; all of them are well unless hidden_unwell
    hidden_unwell: int
    log: tuple[str, ...]


def entry(item: Json) -> Entry:
    """Sum up a Deployment, ReplicaSet or Pod."""
    meta = item["metadata"]
    owners = [(o["kind"], o["name"]) for o in meta.get("ownerReferences") or () if o.get("controller")]
    if item["kind"] == "Pod":
        cells = pod_cells(item)
        state, restarts = cells.status, cells.restarts
        ready, wanted = cells.ready, cells.containers
        well = state in ("Completed", "Succeeded") or (state == "Running" and ready == wanted)
    else:
        state, ready, wanted = _workload(item)
        restarts, well = 0, state == "Available"
    return Entry(
        kind=item["kind"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        owner=owners[0] if owners else None,
        state=state,
        ready=f"{ready}/{wanted}",
        restarts=restarts,
        born=parse_time(meta.get("creationTimestamp")),
        well=well,
    )


def _workload(item: Json) -> tuple[str, int, int]:
    """(state, ready, wanted). A status of an older generation says nothing yet."""
    status, wanted = item.get("status") or {}, (item.get("spec") or {}).get("replicas", 1)
    ready, now_made = status.get("readyReplicas", 0), status.get("updatedReplicas", status.get("replicas", 0))
    if item["metadata"].get("deletionTimestamp"):
        return "Terminating", ready, wanted
    for condition in status.get("conditions") or ():
        if condition.get("reason") in ("ProgressDeadlineExceeded", "FailedCreate", "ReplicaFailure"):
            return str(condition["reason"]), ready, wanted
    seen = status.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
    done = seen and ready == wanted == now_made == status.get("replicas", 0)
    return "Available" if done else "Progressing", ready, wanted


def arrange(entries: Mapping[tuple[str, str, str], Entry]) -> list[tuple[int, Entry]]:
    """Entries as trees: pods below what made them. A Deployment's ReplicaSets are left out; their pods stay.

    Returns: (depth, entry), by namespace and name.
    """

    def root(of: Entry) -> Entry:
        while of.owner is not None and (above := entries.get((of.owner[0], of.namespace, of.owner[1]))) is not None:
            of = above
        return of

    placed = []
    for of in entries.values():
        top = root(of)
        if of.kind == "ReplicaSet" and top is not of:
            continue
        depth = 0 if top is of else 1
        placed.append(((of.namespace, top.name, top.kind, depth, of.name), depth, of))
    placed.sort(key=lambda item: item[0])
    return [(depth, of) for _, depth, of in placed]


def choose(placed: Sequence[tuple[int, Entry]], room: int) -> list[tuple[int, Entry]]:
    """At most `room` of them, in their order; those that are not well come first when not all fit."""
    if len(placed) <= room:
        return list(placed)
    order = sorted(range(len(placed)), key=lambda at: (placed[at][1].well, at))
    return [placed[at] for at in sorted(order[: max(0, room)])]


def line(depth: int, of: Entry, last: Happening | None, now: float, *, namespaces: bool) -> Line:
    """An entry as it stands in the table at `now`."""
    place = f"{of.namespace}/" if namespaces and not depth else ""
    return Line(
        depth=depth,
        name=f"{of.kind.lower()}/{place}{of.name}",
        state=of.state,
        ready=of.ready,
        restarts=str(of.restarts) if of.kind == "Pod" else "",
        age=human_duration(now - of.born) if of.born is not None else "",
        event=f"{last.reason} {human_duration(now - last.at)} ago: {last.message}" if last else "",
        warning=last is not None and last.warning,
    )


def verdict(*, in_sync: bool, errors: int, held_back: bool) -> str:
    """Whether the machine equals the folder, in two words."""
    if held_back:
        return "removal held back"
    if errors:
        return f"{errors} problem{'s' if errors > 1 else ''}"
    return "in sync" if in_sync else "converging"


def counts(entries: Collection[Entry]) -> str:
    """`2 deployments, 5 pods (4 well)`."""
    parts = []
    for kind in KINDS:
        of_kind = [e for e in entries if e.kind == kind and (kind != "ReplicaSet" or e.owner is None)]
        if of_kind:
            well = sum(e.well for e in of_kind)
            some = "" if well == len(of_kind) else f" ({well} well)"
            parts.append(f"{len(of_kind)} {kind.lower()}{'s' if len(of_kind) > 1 else ''}{some}")
    return ", ".join(parts) or "nothing declared that runs"


def shorten(problems: Iterable[str]) -> tuple[str, ...]:
    """The first problems, and how many more there are."""
    listed = list(problems)
    more = len(listed) - PROBLEMS_SHOWN
    return tuple(listed[:PROBLEMS_SHOWN]) + (
        (f"and {more} more: `reconciler validate` lists them",) if more > 0 else ()
    )
