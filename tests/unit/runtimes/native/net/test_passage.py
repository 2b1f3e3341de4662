from __future__ import annotations

import pytest

from reconciler.runtimes.native.net.passage import plan_passage, plan_removal

OPEN = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT"
DROPPED = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT"
DOCKER = f"{DROPPED}\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN"
REJECTED = f"{OPEN}\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited"
IN = "-i rec-x -m comment --comment reconciler_x -j ACCEPT"
OUT = "-o rec-x -m comment --comment reconciler_x -j ACCEPT"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(OPEN, [], id="nothing in the way"),
        pytest.param(DROPPED, [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"], id="dropped"),
        pytest.param(REJECTED, [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"], id="rejected"),
        pytest.param(DOCKER, [f"-I DOCKER-USER {IN}", f"-I DOCKER-USER {OUT}"], id="docker"),
        pytest.param(f"{DROPPED}\n-A FORWARD {OUT}", [f"-I FORWARD {IN}"], id="half done"),
        pytest.param(f"{DOCKER}\n-A DOCKER-USER {IN}\n-A DOCKER-USER {OUT}", [], id="done"),
        pytest.param(
            f"{DOCKER}\n-A DOCKER-USER {IN.replace('_x', '_y')}\n-A DOCKER-USER {OUT}",
            [f"-I DOCKER-USER {IN}"],
            id="that of another instance does not count",
        ),
    ],
)
def test_plan_passage(rules: str, expected: list[str]) -> None:
    assert [" ".join(call) for call in plan_passage(rules, "rec-x", "reconciler_x")] == expected


def test_plan_removal_takes_ours_out_of_every_chain_and_nothing_else() -> None:
    rules = f"{DOCKER}\n-A FORWARD {IN}\n-A DOCKER-USER {OUT}\n-A FORWARD {IN.replace('_x', '_xy')}"
    assert [" ".join(call) for call in plan_removal(rules, "reconciler_x")] == [
        f"-D FORWARD {IN}",
        f"-D DOCKER-USER {OUT}",
    ]
