"""`down` has the last word: nothing that the loop still does brings back what it took away."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.instance import Instance, pod


def test_down_beside_a_daemon_that_relists_all_the_time(tmp_path: Path) -> None:
    one = Instance(tmp_path)
    try:
        one.put("empty.yaml", "# meant to be empty\n")
        one.start("--resync", "1ms")
        assert one.daemon is not None
        one.cli("down")
        assert one.daemon.wait(timeout=20) == 0
        assert not list(one.leftovers())
    finally:
        one.clean_up()


def test_down_takes_running_pods_and_ends_the_daemon(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.phase("web") == "Running")
    assert "removed Pod/default/web" in one.cli("down")
    assert one.daemon is not None
    assert one.daemon.wait(timeout=20) == 0
    assert not list(one.leftovers())
