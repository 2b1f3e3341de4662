"""One pass: observe, plan, check, execute, status. The same for boot, change, crash and drift."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.control import narrate
from reconciler.control.executor import Executor, Outcome
from reconciler.control.queue import WorkQueue
from reconciler.control.records import Record
from reconciler.control.status import PodView, pod_status, refresh_at, settled, workload_status
from reconciler.control.store import Store
from reconciler.errors import ReconcilerError
from reconciler.model.kinds import Object, Pod, ref_of
from reconciler.model.observed import Observed, SeenPod
from reconciler.model.ref import Ref
from reconciler.plan.check import check
from reconciler.plan.environment import Node
from reconciler.plan.expand import expand
from reconciler.plan.pods import Want, as_declared, plan_pod
from reconciler.plan.resolve import resolve, uses
from reconciler.plan.steps import Plan, RestoreLimits, ResumeContainer, StartContainer, Step, Why
from reconciler.ports import Clock, Runtime
from reconciler.telemetry import Telemetry

log = logging.getLogger(__name__)

_MADE_BY = {"Pod": "ReplicaSet", "ReplicaSet": "Deployment"}
_DRIFT = (Why.EXITED, Why.BROKEN, Why.PAUSED, Why.DRIFTED)
_MENDS = (StartContainer, ResumeContainer, RestoreLimits)  # the step that ends a correction: each counts once


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, as pods and their statuses name it."""

    node: Node
    address: str


class Reconciler:
    """Works on one ref at a time per name. `hold` makes it look without touching."""

    def __init__(
        self, store: Store, queue: WorkQueue, runtime: Runtime, clock: Clock, telemetry: Telemetry, machine: Machine
    ) -> None:
        self._store = store
        self._queue = queue
        self._runtime = runtime
        self._clock = clock
        self._telemetry = telemetry
        self._machine = machine
        self._executor = Executor(runtime, clock, telemetry)
        self._wants: dict[Ref, tuple[tuple[Object | None, ...], bool, Want]] = {}
        self._uses: dict[Ref, tuple[Object, tuple[Ref, ...]]] = {}
        self._expanded: dict[Ref, tuple[Object, tuple[Object, ...]]] = {}
        self.hold = False
        self.keep_orphans = ""  # why pods that nobody declares are left alone
        self.unsettled: set[Ref] = set()  # objects that are not as their declaration wants them

    async def work(self, ref: Ref) -> None:
        """A pass over `ref`. Never raises; what failed is tried again with back-off."""
        controller = ref.kind.lower()
        start = self._clock.now()
        result = "success"
        try:
            if ref.kind == "Pod":
                result = await self._pod(ref)
            else:
                self._workload(ref)
        except ReconcilerError as e:
            result = "error"
            log.warning("%s: %s; trying again", ref, e)
        except Exception:
            result = "error"
            log.exception("%s: the pass failed unexpectedly; trying again", ref)
        took = self._clock.now() - start
        t = self._telemetry
        t.reconcile_total.labels(controller, result).inc()
        t.reconcile_time_seconds.labels(controller).observe(max(0.0, took))
        if ref.kind == "Pod":
            t.pod_worker_seconds.labels("sync").observe(max(0.0, took))
        if result == "error":
            t.reconcile_errors_total.labels(controller).inc()
        if result in ("error", "requeue"):
            self._queue.retry(ref)
        else:
            self._queue.forget(ref)

    def plan(self, ref: Ref, seen: SeenPod | None, world: Observed) -> Plan:
        """What a pass over a pod would do now."""
        want = self._want(self._store.get(ref))
        return self._plan(ref, want, seen, world)

    # Pods

    async def _pod(self, ref: Ref) -> str:
        world = await self._runtime.observe(ref)
        record = self._store.get(ref)
        want, seen = self._want(record), world.pods.get(ref)
        plan = self._plan(ref, want, seen, world)
        if self._only_looks(record):
            self._set_status(ref, record, want, seen, world, plan)
            return "success"
        check(plan, want, seen)
        good = True
        if plan.steps:
            self._set_status(ref, record, want, seen, world, plan)
            good = await self._execute(ref, plan, seen)
            world = await self._runtime.observe(ref)
            record = self._store.get(ref)
            want, seen = self._want(record), world.pods.get(ref)
            plan = self._plan(ref, want, seen, world)
        self._set_status(ref, record, want, seen, world, plan)
        if (record is None or record.deleted_at is not None) and seen is None:
            self._forget(ref, record)
        elif plan.steps:
            self.unsettled.add(ref)
            return "requeue" if good else "error"  # with back-off: it may be that the steps never help
        if plan.wake_at is not None:
            self._queue.add_at(ref, plan.wake_at)
            return "requeue_after"
        return "success"

    def _only_looks(self, record: Record | None) -> bool:
        """Whether a pod is to be left as it is. What was ordered down goes even on hold."""
        if not self._store.loaded or (record is None and self.keep_orphans):
            return True
        return self.hold and (record is None or record.deleted_at is None)

    def _plan(self, ref: Ref, want: Want | None, seen: SeenPod | None, world: Observed) -> Plan:
        return plan_pod(want, seen, now=self._clock.now(), images=world.images, failures=self._store.failures(ref))

    async def _execute(self, ref: Ref, plan: Plan, seen: SeenPod | None) -> bool:
        names = narrate.names_in(plan) | {c.id: c.name for c in (seen.containers if seen else ())}

        def begun(step: Step) -> None:
            self._tell(ref, narrate.at_begin(step, names))

        def ended(outcome: Outcome) -> None:
            self._tell(ref, narrate.at_end(outcome, names))
            subject = narrate.subject_of(outcome.step, names)
            if outcome.error is not None:
                log.warning("%s: %s: %s", ref, outcome.error.reason, outcome.error)
                if subject is not None:
                    self._store.record_failure(ref, subject, outcome.error)
            elif outcome.said is not None:
                if subject is not None and narrate.makes_good(outcome.step):
                    self._store.clear_failure(ref, subject)
                if outcome.step.why in _DRIFT and isinstance(outcome.step.action, _MENDS):
                    self._telemetry.drift_corrected_total.labels(ref.kind, outcome.step.why).inc()

        start = self._clock.now()
        good = await self._executor.execute(plan, begun, ended)
        actions = ", ".join(dict.fromkeys(f"{type(s.action).__name__} ({s.why})" for s in plan.steps))
        log.info("%s: %s %s in %.3f s", ref, "did" if good else "tried", actions, self._clock.now() - start)
        return good

    def _tell(self, ref: Ref, said: narrate.Narration | None) -> None:
        if said is not None:
            self._store.event(ref, said.reason, said.message, warning=said.warning)

    def _want(self, record: Record | None) -> Want | None:
        """The resolved pod, resolved anew only when it or something it uses has changed."""
        if record is None or not isinstance(record.object, Pod):
            return None
        ref, pod = record.ref, record.object
        used = self._uses.get(ref)
        if used is None or used[0] is not pod:
            used = self._uses[ref] = (pod, tuple(sorted(uses(pod))))
        sources = (pod, *(self._lookup(u) for u in used[1]))
        deleting = record.deleted_at is not None
        cached = self._wants.get(ref)
        if (
            cached is not None
            and cached[1] == deleting
            and len(cached[0]) == len(sources)
            and all(a is b for a, b in zip(cached[0], sources, strict=True))
        ):
            return cached[2]
        want = resolve(pod, record.uid, self._lookup, self._machine.node, deleting=deleting)
        self._wants[ref] = (sources, deleting, want)
        self._store.clear_failure(ref)
        return want

    def _lookup(self, ref: Ref) -> Object | None:
        record = self._store.get(ref)
        return record.object if record else None

    def _set_status(
        self,
        ref: Ref,
        record: Record | None,
        want: Want | None,
        seen: SeenPod | None,
        world: Observed,
        plan: Plan,
    ) -> None:
        if record is None or want is None or not isinstance(record.object, Pod):
            return
        view = PodView(
            pod=record.object,
            want=want,
            seen=seen,
            failures=self._store.failures(ref),
            images=world.images,
            host_address=self._machine.address,
            created_at=record.created_at,
            generation=record.generation,
            converged=not plan.steps and seen is not None and as_declared(want, seen),
            now=self._clock.now(),
        )
        status = pod_status(view, record.status)
        if record.status.get("phase") == "Pending" and status["phase"] == "Running":
            self._telemetry.pod_start_seconds.observe(max(0.0, view.now - record.created_at))
        if view.converged and settled(status, record.generation) and record.deleted_at is None:
            self.unsettled.discard(ref)
        else:
            self.unsettled.add(ref)
        for said in narrate.back_offs(ref, record.status, status):
            self._tell(ref, said)
        if self._store.set_status(ref, status) and record.owner is not None:
            self._queue.add(record.owner)
        if (again := refresh_at(view)) is not None:
            self._queue.add_at(ref, again)

    def _forget(self, ref: Ref, record: Record | None) -> None:
        self._store.remove(ref)
        self._wants.pop(ref, None)
        self._uses.pop(ref, None)
        self.unsettled.discard(ref)
        if record is not None:
            self._name_is_free(ref, record.owner)

    def _name_is_free(self, ref: Ref, owner: Ref | None) -> None:
        """Have its owner looked at, or (None) all who may have wanted to make an object of that name."""
        makers = [r.ref for r in self._store.list(_MADE_BY.get(ref.kind, ""), ref.namespace)]
        for maker in makers if owner is None else [owner]:
            self._queue.add(maker)

    # Workloads

    def unfold(self, refs: Iterable[Ref]) -> set[Ref]:
        """Bring what workloads own up to date, all the way down; returns the refs that must be looked at.

        It happens at once, between two awaits: a pod of a workload is never taken for one that nobody declares.
        """
        changed: set[Ref] = set()
        for ref in refs:
            record = self._store.get(ref)
            before = {child.ref for child in self._store.children(ref)}
            wanted = self._expand(record)
            children = self._store.set_children(ref, wanted)
            if record is not None:
                for child in sorted(children):
                    self._tell_child(record, child, before)
                self._tell_taken(record, wanted)
            changed |= children | self.unfold(children)
        return changed

    def _workload(self, ref: Ref) -> None:
        for child in sorted(self.unfold([ref])):
            self._queue.add(child)
        record = self._store.get(ref)
        if record is None:
            self._expanded.pop(ref, None)
            self.unsettled.discard(ref)
            self._name_is_free(ref, None)
            return
        status: Mapping[str, Any] | None = None
        if ref.kind == "Namespace":
            status = {"phase": "Active"}
        elif ref.kind in _MADE_BY.values():
            children = self._store.children(ref)
            pods = [p for c in children for p in ([c] if c.ref.kind == "Pod" else self._store.children(c.ref))]
            status = workload_status(record, children, pods, self._clock.now())
        if status is not None and self._store.set_status(ref, status) and record.owner is not None:
            self._queue.add(record.owner)

    def _expand(self, record: Record | None) -> tuple[Object, ...]:
        if record is None or record.ref.kind not in _MADE_BY.values():
            return ()
        cached = self._expanded.get(record.ref)
        if cached is None or cached[0] is not record.object:
            cached = self._expanded[record.ref] = (record.object, expand(record.object, record.uid))
        return cached[1]

    def _tell_taken(self, owner: Record, wanted: Iterable[Object]) -> None:
        """Tell of names that somebody else has: what a manifest declares is not taken over by a workload."""
        self.unsettled.discard(owner.ref)
        for child in map(ref_of, wanted):
            record = self._store.get(child)
            if record is None or record.owner != owner.ref:
                self.unsettled.add(owner.ref)
                said = f"Error creating: {child} is there already, and is not of this {owner.ref.kind}"
                self._store.event(owner.ref, "FailedCreate", said, warning=True)

    def _tell_child(self, owner: Record, child: Ref, before: set[Ref]) -> None:
        record = self._store.get(child)
        gone = record is None or record.deleted_at is not None
        known = child in before or (record is not None and bool(record.status))  # as after a restart
        if gone or not known:
            verb = "Delete" if gone else "Create"
            said = f"{verb}d {child.kind.lower() if child.kind == 'Pod' else 'replica set'}: {child.name}"
            self._store.event(owner.ref, f"Successful{verb}", said)
