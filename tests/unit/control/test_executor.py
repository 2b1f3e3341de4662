"""The executor: order, what a failure skips and what it does not, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from reconciler.control.executor import Executor, Outcome
from reconciler.errors import ReconcilerError, TransientError
from reconciler.plan.steps import Plan, RemoveContainer, StartContainer, Step, Why
from reconciler.runtimes.fake import FakeRuntime
from reconciler.telemetry import Telemetry
from tests.virtual import VirtualClock, run


class Machine(FakeRuntime):
    """Takes a second for each step, and fails those that it is told to."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        super().__init__(VirtualClock())
        self.failures = failures
        self.stopped: list[str] = []

    async def execute(self, step: Step) -> str:
        assert isinstance(step.action, StartContainer | RemoveContainer)
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.stopped.append(step.action.id)
            raise
        if error := self.failures.get(step.action.id):
            raise error
        return f"did {step.action.id}"


def plan(*steps: tuple[str, Sequence[int]]) -> Plan:
    return Plan(
        tuple(Step(n, StartContainer(name), Why.ABSENT, tuple(after)) for n, (name, after) in enumerate(steps, 1))
    )


class Execution:
    """What an executor told, with the second at which it did."""

    def __init__(self, **failures: Exception) -> None:
        self.machine = Machine(failures)
        self.telemetry = Telemetry()
        self.begun: list[tuple[str, float]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.good: bool | None = None

    async def execute(self, plan: Plan) -> None:
        loop = asyncio.get_running_loop()

        def begun(step: Step) -> None:
            assert isinstance(step.action, StartContainer)
            self.begun.append((step.action.id, loop.time()))

        def ended(outcome: Outcome) -> None:
            assert isinstance(outcome.step.action, StartContainer)
            self.outcomes[outcome.step.action.id] = outcome

        executor = Executor(self.machine, VirtualClock(), self.telemetry)
        self.good = await executor.execute(plan, begun, ended)

    def said(self) -> dict[str, str]:
        return {
            name: outcome.said if outcome.said is not None else outcome.error.reason if outcome.error else "skipped"
            for name, outcome in self.outcomes.items()
        }


DIAMOND = plan(("a", ()), ("b", (1,)), ("c", (1,)), ("d", (2, 3)), ("e", ()))


def test_steps_start_as_soon_as_those_before_them_are_done() -> None:
    execution = Execution()
    run(execution.execute(DIAMOND))
    assert execution.begun == [("a", 0), ("e", 0), ("b", 1), ("c", 1), ("d", 2)]
    assert execution.good
    assert execution.said() == {name: f"did {name}" for name in "abcde"}
    assert all(outcome.seconds == pytest.approx(1) for outcome in execution.outcomes.values())


def test_a_failure_skips_what_comes_after_and_nothing_else() -> None:
    execution = Execution(b=TransientError("no", reason="ErrImagePull"))
    run(execution.execute(DIAMOND))
    assert not execution.good
    assert execution.said() == {"a": "did a", "b": "ErrImagePull", "c": "did c", "d": "skipped", "e": "did e"}
    assert "d" not in dict(execution.begun)


def test_a_skip_skips_further() -> None:
    execution = Execution(a=ReconcilerError("no"))
    run(execution.execute(plan(("a", ()), ("b", (1,)), ("c", (2,)))))
    assert execution.said() == {"a": "Error", "b": "skipped", "c": "skipped"}


def test_a_defect_of_a_runtime_is_a_failure_of_the_step() -> None:
    execution = Execution(a=KeyError("oops"))
    run(execution.execute(plan(("a", ()), ("b", ()))))
    assert execution.said() == {"a": "InternalError", "b": "did b"}
    assert str(execution.outcomes["a"].error) == "KeyError: 'oops'"


def test_nothing_to_do_is_good() -> None:
    execution = Execution()
    run(execution.execute(Plan()))
    assert execution.good


def test_cancelling_ends_what_is_under_way_and_begins_nothing() -> None:
    execution = Execution()

    async def main() -> None:
        task = asyncio.create_task(execution.execute(DIAMOND))
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert sorted(execution.machine.stopped) == ["b", "c"]
    assert execution.good is None
    assert {name for name, _ in execution.begun} == {"a", "b", "c", "e"}


def test_steps_are_counted_and_skipped_ones_are_not() -> None:
    execution = Execution(b=ReconcilerError("no"))
    run(execution.execute(DIAMOND))
    count = execution.telemetry.registry.get_sample_value
    labels = {"action": "StartContainer"}
    assert count("reconciler_actions_total", {**labels, "result": "success"}) == 3
    assert count("reconciler_actions_total", {**labels, "result": "error"}) == 1
    assert count("reconciler_action_seconds_sum", labels) == pytest.approx(4)
    assert count("kubelet_runtime_operations_total", {"operation_type": "StartContainer"}) == 4
