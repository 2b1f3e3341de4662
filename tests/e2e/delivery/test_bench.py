"""The bench measures what it says: a floor and a daemon that both start containers, and leave nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.__main__ import Row, delete_seconds, root_filesystem, start_seconds
from tests.bench.floor import Floor
from tests.bench.ours import Ours
from tests.bench.stamps import Stamps


@pytest.fixture
def stamps(tmp_path: Path) -> Stamps:
    return Stamps(tmp_path / "stamps")


def test_the_floor_and_ours_start_containers_and_take_them_away(tmp_path: Path, stamps: Stamps) -> None:
    rootfs, archive = root_filesystem(tmp_path)
    floor = Floor(tmp_path / "floor", rootfs, stamps)
    assert 0 < start_seconds(floor, stamps, 2, repeats=1) < 10
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith(floor.prefix)]

    ours = Ours(tmp_path / "ours", stamps)
    with ours.running(archive):
        assert 0 < start_seconds(ours, stamps, 2, repeats=1) < 10
        assert not ours.containers()
        assert 0 < delete_seconds(ours, stamps, samples=1) < 10
    assert not ours.processes()


def test_processes_that_never_run_are_noticed(stamps: Stamps) -> None:
    (stamps.path / "one").touch()
    with pytest.raises(TimeoutError, match="1 of 2 processes"):
        stamps.last(2, timeout_seconds=0.05)


def test_a_budget_is_met_or_missed() -> None:
    assert Row("x", ours=2.0, most=2.0).good is True
    assert Row("x", ours=2.1, most=2.0).good is False
    assert Row("x", ours=2.1).good is None
