"""Back-off: the numbers, however often, and whatever the clock does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.observed import SeenContainer, State
from reconciler.plan.restart import Failure, create_due, next_level, pull_due, restart_due

NOW = 10_000.0
DEAD = SeenContainer("c", "a", "s", "h", State.EXITED, created_at=9000, started_at=9000, finished_at=9100, exit_code=1)
BROKEN = replace(DEAD, state=State.BROKEN, finished_at=None, exit_code=None)


@pytest.mark.parametrize(
    ("level", "delay"), [(0, 0), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (100_000, 300)]
)
def test_restarts_back_off(level: int, delay: float) -> None:
    dead = replace(DEAD, backoff_level=level)
    assert restart_due(dead, NOW) == 9100 + delay
    assert next_level(dead, NOW) == level + 1


@pytest.mark.parametrize(("ran", "level", "following"), [(599.0, 5, 6), (600.0, 0, 1)])
def test_ten_minutes_of_clean_running_begin_anew(ran: float, level: int, following: int) -> None:
    dead = replace(DEAD, backoff_level=5, finished_at=9000 + ran)
    assert restart_due(dead, NOW) == 9000 + ran + (160 if level else 0)
    assert next_level(dead, NOW) == following


def test_what_broke_has_run_until_now_and_what_breaks_soon_backs_off() -> None:
    assert next_level(replace(BROKEN, backoff_level=5), 9599) == 6
    assert restart_due(replace(BROKEN, backoff_level=5), 9100) == 9160
    assert next_level(replace(BROKEN, backoff_level=5), 9600) == 1


@pytest.mark.parametrize(
    ("count", "pull", "create"), [(1, 10, 1), (2, 20, 2), (5, 160, 16), (6, 300, 32), (7, 300, 60), (100_000, 300, 60)]
)
def test_failures_back_off(count: int, pull: float, create: float) -> None:
    failure = Failure("ErrImagePull", "", count, 9000)
    assert pull_due(failure, NOW) == 9000 + pull
    assert create_due(failure, NOW) == 9000 + create


@pytest.mark.parametrize(("asked", "delay"), [(None, 10), (5, 10), (120, 120), (3600, 3600)])
def test_a_registry_may_ask_for_more_time(asked: float | None, delay: float) -> None:
    assert pull_due(Failure("ErrImagePull", "", 1, 9000, asked), NOW) == 9000 + delay


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    failure = Failure("ErrImagePull", "", 3, NOW + 3600)
    dead = replace(DEAD, backoff_level=3, finished_at=NOW + 3600)
    assert restart_due(dead, NOW) == pull_due(failure, NOW) == create_due(failure, NOW) == NOW
