"""When removals are held back."""

from __future__ import annotations

import pytest

from reconciler.plan.prune import held_back, orphans_held_back


@pytest.mark.parametrize(
    ("tree_is_empty", "declared", "held"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_an_empty_folder_that_had_something(tree_is_empty: bool, declared: bool, held: bool) -> None:
    assert bool(held_back(tree_is_empty=tree_is_empty, declared=declared)) is held


def test_it_says_how_to_go_on() -> None:
    said = held_back(tree_is_empty=True, declared=True)
    assert "reconciler down" in said and "leave one file there" in said


@pytest.mark.parametrize(
    ("unknown", "named"),
    [((), ""), (("b.yaml", "a.yaml"), "what a.yaml, b.yaml declares"), (("d", "c", "b", "a"), "what a, b, c declares")],
)
def test_orphans_are_kept_while_a_file_may_declare_them(unknown: tuple[str, ...], named: str) -> None:
    said = orphans_held_back(frozenset(unknown))
    assert bool(said) == bool(unknown)
    assert said.startswith(named)
