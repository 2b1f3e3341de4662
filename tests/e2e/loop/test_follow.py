"""Files appear, change, move and go; the containers follow."""

from __future__ import annotations

from tests.e2e.instance import Instance, deployment, pod


def test_a_file_renamed_into_place_runs_and_goes(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    one.put("web.yaml", pod("web", "exec sleep 2000000"))
    one.until(lambda: one.ready("web") and one.id("web") != first)
    one.put("keep.yaml", "# so that the folder is not taken for unmounted\n")
    one.delete("web.yaml")
    one.until(lambda: not one.pods())
    assert one.containers() == []


def test_a_file_that_moves_changes_nothing(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    (one.folder / "below").mkdir()
    (one.folder / "web.yaml").rename(one.folder / "below" / "other.yml")
    one.steady(lambda: one.id("web") == first, 1.0)


def test_a_deployment_scales_and_is_replaced(one: Instance) -> None:
    one.put("web.yaml", deployment("web", 2))
    one.until(lambda: len(one.pods()) == 2 and all(one.ready(name) for name in one.pods()))
    before = set(one.pods())
    one.put("web.yaml", deployment("web", 3))
    one.until(lambda: len(one.pods()) == 3 and all(one.ready(name) for name in one.pods()))
    assert before < set(one.pods())
    one.put("web.yaml", deployment("web", 1, "exec sleep 5"))
    one.until(lambda: len(one.pods()) == 1 and all(one.ready(name) for name in one.pods()))
    assert not before & set(one.pods())
