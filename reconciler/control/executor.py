"""Carries out plans. It decides nothing: the order is in the plan, the meaning of a failure elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.plan.steps import Plan, Step
from reconciler.ports import Clock, Runtime
from reconciler.telemetry import Telemetry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step went. `said` and `error` both None: it was skipped, because a step before it failed."""

    step: Step
    said: str | None = None
    error: ReconcilerError | None = None
    seconds: float = 0.0


class Executor:
    """Runs the steps of a plan as soon as those before them have succeeded."""

    def __init__(self, runtime: Runtime, clock: Clock, telemetry: Telemetry) -> None:
        self._runtime = runtime
        self._clock = clock
        self._telemetry = telemetry

    async def execute(self, plan: Plan, begun: Callable[[Step], None], ended: Callable[[Outcome], None]) -> bool:
        """Carry out `plan`; returns whether every step succeeded.

        A failed step skips those that come after it; the others go on. `begun` and `ended` are
        called as it happens, on the loop. Never raises but for cancellation.
        """
        results: dict[int, asyncio.Future[bool]] = {}
        loop = asyncio.get_running_loop()
        for step in plan.steps:
            results[step.number] = loop.create_future()

        async def one(step: Step) -> None:
            before = [await results[number] for number in step.after]
            if not all(before):
                ended(Outcome(step))
                results[step.number].set_result(False)
                return
            begun(step)
            outcome = await self._one(step)
            ended(outcome)
            results[step.number].set_result(outcome.error is None)

        async with asyncio.TaskGroup() as tasks:
            for step in plan.steps:
                tasks.create_task(one(step))
        return all(future.result() for future in results.values())

    async def _one(self, step: Step) -> Outcome:
        action = type(step.action).__name__
        start = self._clock.now()
        error: ReconcilerError | None = None
        said = None
        try:
            said = await self._runtime.execute(step)
        except ReconcilerError as e:
            error = e
        except Exception as e:  # a defect in an adapter must not take the loop down with it
            log.exception("step %s failed unexpectedly", action)
            error = TerminalError(f"{type(e).__name__}: {e}", reason="InternalError")
        took = max(0.0, self._clock.now() - start)
        self._telemetry.actions_total.labels(action, "error" if error else "success").inc()
        self._telemetry.action_seconds.labels(action).observe(took)
        self._telemetry.runtime_operations_total.labels(action).inc()
        return Outcome(step, said, error, took)
