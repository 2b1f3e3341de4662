"""From facts to a state and a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.observed import State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import SandboxConfig
from reconciler.runtimes.native.ledger import ContainerRow, Phase, SandboxRow
from reconciler.runtimes.native.verdict import Facts, judge_container, judge_sandbox

POD = Ref("Pod", "default", "web")
ROW = ContainerRow("c1", POD, "s1", "web", "h", 0, 0, 1.0, "web:1", phase=Phase.STARTED)
FINE = Facts(alive=True, monitored=True)


@pytest.mark.parametrize(
    ("row", "facts", "expected"),
    [
        pytest.param(ROW, FINE, (State.RUNNING, ""), id="runs"),
        pytest.param(ROW, replace(FINE, waits=True), (State.CREATED, ""), id="waits to be started"),
        pytest.param(ROW, replace(FINE, frozen=True), (State.PAUSED, ""), id="frozen"),
        pytest.param(ROW, replace(FINE, alive=False), (State.RUNNING, ""), id="its exit is about to be reported"),
        pytest.param(ROW, Facts(), (State.BROKEN, "its process is gone, and its exit code with it"), id="both gone"),
        pytest.param(
            ROW, replace(FINE, monitored=False), (State.BROKEN, "its monitor (conmon) is gone"), id="monitor gone"
        ),
        pytest.param(ROW, replace(FINE, known=False), (State.BROKEN, "removed by hand"), id="deleted, still dying"),
        pytest.param(
            ROW, replace(FINE, known=False, alive=False), (State.BROKEN, "removed by hand"), id="deleted, just died"
        ),
        pytest.param(
            ROW, replace(FINE, mounted=False), (State.BROKEN, "its root filesystem was unmounted"), id="unmounted"
        ),
        pytest.param(ROW, replace(FINE, cgroup=False), (State.BROKEN, "its cgroup was removed"), id="no cgroup"),
        pytest.param(
            replace(ROW, phase=Phase.MAKING),
            FINE,
            (State.BROKEN, "half made: making it was interrupted"),
            id="half made",
        ),
        pytest.param(
            replace(ROW, phase=Phase.MAKING), replace(FINE, under_way=True), (State.CREATED, ""), id="being made"
        ),
        pytest.param(
            replace(ROW, phase=Phase.EXITED, exit_code=0), Facts(known=False), (State.EXITED, ""), id="ended for good"
        ),
        pytest.param(replace(ROW, phase=Phase.EXITED, exit_code=137), Facts(), (State.EXITED, ""), id="killed"),
        pytest.param(
            replace(ROW, phase=Phase.EXITED, exit_code=137),
            Facts(known=False),
            (State.BROKEN, "removed by hand"),
            id="killed and deleted",
        ),
    ],
)
def test_container(row: ContainerRow, facts: Facts, expected: tuple[State, str]) -> None:
    assert judge_container(row, facts) == expected


SANDBOX = SandboxRow("s1", POD, "h", 0, 1.0, SandboxConfig(pod=POD), "10.0.0.2", phase=Phase.MADE)


@pytest.mark.parametrize(
    ("row", "under_way", "network", "missing", "files", "expected"),
    [
        (SANDBOX, False, "", [], True, ""),
        (SANDBOX, False, None, [], True, "its network namespace was removed"),
        (SANDBOX, False, "link gone", [], True, "link gone"),
        (SANDBOX, True, None, [], True, ""),
        (SANDBOX, False, "", ["/run/volumes/s1/cache"], True, "/run/volumes/s1/cache was unmounted"),
        (SANDBOX, False, "", [], False, "its directory was removed"),
        (replace(SANDBOX, config=SandboxConfig(pod=POD, host_network=True)), False, None, [], True, ""),
        (replace(SANDBOX, phase=Phase.MAKING), False, "", [], True, "half made: making it was interrupted"),
    ],
)
def test_sandbox(
    row: SandboxRow, under_way: bool, network: str | None, missing: list[str], files: bool, expected: str
) -> None:
    assert judge_sandbox(row, under_way=under_way, network=network, missing=missing, files=files) == expected
