"""The loop: desired state from a source, hints from the runtime, and a relist as the safety net.

All of them only put names into the queue. What happens then is control/reconcile.py.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections.abc import Awaitable, Iterable, Set

from reconciler.control.queue import WorkQueue
from reconciler.control.reconcile import Reconciler
from reconciler.control.store import Store
from reconciler.errors import ReconcilerError
from reconciler.manifest.problems import Problem, Severity
from reconciler.manifest.reader import Reader, Reading
from reconciler.model.observed import SeenPod, State
from reconciler.model.ref import Ref
from reconciler.plan.prune import held_back, orphans_held_back
from reconciler.ports import Clock, Runtime, Source, Tree
from reconciler.telemetry import Telemetry

log = logging.getLogger(__name__)

_CONCURRENCY = 256
_READ_AT_ONCE_BYTES = 1 << 16


class Loop:
    """Keeps one machine equal to one source."""

    def __init__(
        self,
        source: Source | None,
        store: Store,
        queue: WorkQueue,
        reconciler: Reconciler,
        runtime: Runtime,
        clock: Clock,
        telemetry: Telemetry,
        *,
        resync_seconds: float,
    ) -> None:
        self._source = source
        self._store = store
        self._queue = queue
        self._reconciler = reconciler
        self._runtime = runtime
        self._clock = clock
        self._telemetry = telemetry
        self._resync_seconds = resync_seconds
        self._reader = Reader(store.last_good)
        self._last_seen: dict[Ref, SeenPod | None] = {}
        self._reported: frozenset[Problem] = frozenset()
        self._unreadable = ""
        self._changed_at: float | None = None
        self._loading = asyncio.Lock()
        self._source_followed = True
        self._big = False  # whether the folder was big when it was last read
        self._looked = asyncio.Event()
        self.converged = False  # whether everything was as it should be once
        telemetry.max_concurrent_reconciles.labels("reconciler").set(_CONCURRENCY)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._queue.run(self._reconciler.work, self._measure_convergence, concurrency=_CONCURRENCY)
            )
            tasks.create_task(self._follow_runtime())
            if self._source is not None:
                tasks.create_task(self._follow_source(self._source))
            tasks.create_task(self._relist_for_ever())

    # Desired state

    async def sync(self) -> None:
        """Read the source now, and enqueue what changed. Without a source: what was last good."""
        async with self._loading:
            if self._source_followed:
                await self._load()
                self._measure_convergence()

    async def _load(self) -> None:
        start = self._clock.now()
        try:
            tree = await self._source.load() if self._source is not None else None
        except ReconcilerError as e:
            self._source_lost(str(e))
            return
        if tree is None:
            self._declare(self._last_good_reading(""), self._store.revision)
            return
        self._source_found()
        held = held_back(tree_is_empty=not tree.files and not tree.unreadable, declared=await self._has_declared())
        if held:
            self._hold_back(held)
        else:
            was_big = self._big
            await self._apply(await self._read(tree), tree, start)
            if self._big or was_big:  # only now is nothing left of the reading before
                await asyncio.to_thread(_give_memory_back)

    async def _read(self, tree: Tree) -> Reading:
        """A small folder at once; a big one in a thread, so that crashes are seen to meanwhile."""
        files = {f.path: f.content for f in tree.files}
        self._big = sum(map(len, files.values())) > _READ_AT_ONCE_BYTES
        if not self._big:
            return self._reader.read(files, tree.unreadable)
        return await asyncio.to_thread(self._reader.read, files, tree.unreadable)

    async def _apply(self, reading: Reading, tree: Tree, start: float) -> None:
        changed = self._declare(reading, tree.revision)
        self._reconciler.keep_orphans = orphans_held_back(reading.unknown)
        orphans = await self._orphans()
        self._hold_back(self._reconciler.keep_orphans if orphans else "")
        self._enqueue(orphans)
        if changed:
            self._changed_at = self._changed_at or start
        self._report(reading.problems)
        now, t = self._clock.now(), self._telemetry
        name = self._source.name if self._source else ""
        t.source_info.clear()
        t.source_info.labels(name, tree.revision).set(1)
        t.source_last_success.labels(name).set(now)
        t.source_load_seconds.labels(name).observe(max(0.0, now - start))
        t.manifest_problems.labels(name).set(sum(p.severity is Severity.ERROR for p in reading.problems))
        t.manifest_objects.clear()
        for kind, count in self._store.declared_count().items():
            t.manifest_objects.labels(kind).set(count)

    def _declare(self, reading: Reading, revision: str) -> set[Ref]:
        """Make `reading` what is declared, with all that its workloads own, and enqueue what changed."""
        changed = self._store.apply(reading, revision)
        changed |= self._reconciler.unfold(changed)
        if not reading.unknown:
            self._store.forget_unclaimed()
        self._enqueue(changed)
        return changed

    def _source_lost(self, why: str) -> None:
        """Nothing follows from a source that cannot be read: what was last good stays declared."""
        if why != self._unreadable:
            log.error("%s; what runs stays as it is", why)
        self._unreadable = why
        if not self._store.loaded and self._store.last_good:
            self._declare(self._last_good_reading(why), self._store.revision)

    def _source_found(self) -> None:
        if self._unreadable:
            log.info("the source can be read again")
        self._unreadable = ""

    def _last_good_reading(self, why: str) -> Reading:
        return self._reader.read({}, {"": why or "not read"})

    async def _has_declared(self) -> bool:
        """Whether anything was ever declared here that is still known or still runs."""
        if self._store.loaded:
            return bool(self._store.declared_count())
        return bool(self._store.last_good) or bool((await self._runtime.observe()).pods)

    def _hold_back(self, why: str) -> None:
        if why and why != self._store.prune_blocked:
            log.error("%s", why)
            self._store.event(Ref("Namespace", "", "default"), "PruneBlocked", why, warning=True)
        self._store.prune_blocked = why
        self._telemetry.prune_blocked.set(bool(why))
        if why and not self._store.loaded and self._store.last_good:
            self._declare(self._last_good_reading(why), self._store.revision)

    def _report(self, problems: tuple[Problem, ...]) -> None:
        """Log each problem once, when it appears."""
        levels = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.NOTE: logging.INFO}
        for problem in problems:
            if problem not in self._reported:
                log.log(levels[problem.severity], "%s", problem)
        self._reported = frozenset(problems)

    async def _follow_source(self, source: Source) -> None:
        async for _ in source.changes():
            await self._attempt("reading the source", self.sync())

    async def take_down(self, refs: Set[Ref] | None) -> None:
        """Stop following the source, and declare `refs` (None: everything) no longer."""
        self._source_followed = False
        async with self._loading:
            reading = self._last_good_reading("")
            kept = {r: e for r, e in reading.objects.items() if refs is not None and r not in refs}
            files = {entry.file for entry in kept.values()}
            last_good = {file: content for file, content in reading.last_good.items() if file in files}
            self._declare(Reading(kept, (), last_good), self._store.revision)
            if refs is None:
                self._reconciler.keep_orphans = ""
                self._enqueue(await self._orphans())

    async def pods_going(self) -> Set[Ref]:
        """The pods that are being taken down, and are still there."""
        doomed = {record.ref for record in self._store.list("Pod") if record.deleted_at is not None}
        kept = self._reconciler.hold or self._reconciler.keep_orphans
        return doomed if kept else doomed | await self._orphans()

    async def _orphans(self) -> Set[Ref]:
        """The pods that run and that nobody declares."""
        world = await self._runtime.observe()
        return {ref for ref in world.pods if self._store.get(ref) is None}

    # What runs

    async def _follow_runtime(self) -> None:
        async for ref in self._runtime.events():
            self._queue.add(ref)

    async def _relist_for_ever(self) -> None:
        while True:
            if not self._store.loaded or self._unreadable or self._store.prune_blocked:
                await self._attempt("reading the source", self.sync())
            await self._attempt("relist", self.relist())
            self._looked.set()
            await asyncio.sleep(self._resync_seconds)

    async def relist(self) -> None:
        """Look at everything, and enqueue what is not as it was or not as it should be."""
        start = self._clock.now()
        if not self._reconciler.hold:
            for mended in await self._runtime.mend():
                log.warning("%s", mended)
                self._store.event(Ref("Namespace", "", "default"), "NetworkMended", mended, warning=True)
                self._telemetry.drift_corrected_total.labels("Network", "Broken").inc()
        world = await self._runtime.observe()
        declared = {record.ref for record in self._store.list("Pod")}
        drifted = 0
        for ref in declared | world.pods.keys():
            seen = world.pods.get(ref)
            if not self._store.loaded:
                continue
            off = bool(self._reconciler.plan(ref, seen, world).steps)
            drifted += off and not self._queue.busy_with(ref)
            if off or self._last_seen.get(ref) != seen:
                self._queue.add(ref)
        self._last_seen = dict(world.pods)
        t = self._telemetry
        t.drift_objects.labels("Pod").set(drifted)
        t.relist_seconds.observe(max(0.0, self._clock.now() - start))
        t.running_pods.set(sum(1 for p in world.pods.values() if p.sandbox is not None and not p.sandbox.fault))
        states = [c.state for p in world.pods.values() for c in p.containers]
        for state in State:
            t.engine_containers.labels(state).set(states.count(state))
            t.running_containers.labels(state).set(states.count(state))
        self._queue.measure()
        self._measure_convergence()

    # Whether all is well

    async def looked(self) -> None:
        """Return once everything was looked at, or cannot be."""
        await self._looked.wait()
        await self._queue.until_idle()

    @property
    def settled(self) -> bool:
        """Whether everything declared is as it should be, and nothing waits to be looked at."""
        return self._store.loaded and self._queue.idle and not self._reconciler.unsettled

    @property
    def in_sync(self) -> bool:
        """Settled, and the whole source could be read and applied."""
        errors = any(p.severity is Severity.ERROR for p in self._store.problems)
        return self.settled and not errors and not self._unreadable and not self._store.prune_blocked

    def _measure_convergence(self) -> None:
        settled = self.settled
        self.converged = self.converged or settled
        self._telemetry.in_sync.set(settled and self.in_sync)
        if settled and self._changed_at is not None:
            self._telemetry.convergence_seconds.observe(max(0.0, self._clock.now() - self._changed_at))
            self._changed_at = None

    async def _attempt(self, what: str, work: Awaitable[None]) -> None:
        """What fails is tried again by the next relist, and takes nothing down with it."""
        try:
            await work
        except ReconcilerError as e:
            log.warning("%s: %s", what, e)
        except Exception:
            log.exception("%s failed unexpectedly", what)

    def _enqueue(self, refs: Iterable[Ref]) -> None:
        for ref in sorted(refs):
            self._queue.add(ref)


def _give_memory_back() -> None:
    """Have malloc return what reading a big folder took; by itself it keeps 60 MB of a hostile 10 MB file."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
