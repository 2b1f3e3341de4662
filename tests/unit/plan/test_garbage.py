"""Which images go, and what that frees."""

from __future__ import annotations

import itertools

import pytest

from reconciler.plan.garbage import (
    Disk,
    Garbage,
    Sighting,
    StoredImage,
    plan_garbage,
    remember,
    total_bytes,
    unused,
)

NOW = 10_000.0
OLD = Sighting(0.0)


def image(id: str, *names: str, **parts: int) -> StoredImage:
    return StoredImage(id, names, f"sha256:{id}", parts or {id: 10})


BASE, WEB, API, LOST = (
    image("base", "base:1", root=50),
    image("web", "web:1", root=50, web=20),
    image("api", "api:1", root=50, api=30),
    image("lost", lost=5),
)
ALL = (BASE, WEB, API, LOST)
FULL = Disk(1000, 100)  # 90 % used: 100 more must become free


def collect(
    *images: StoredImage, disk: Disk = FULL, ages: dict[str, Sighting] | None = None, **kept: set[str]
) -> Garbage:
    ages = {i.id: OLD for i in images} if ages is None else ages
    return plan_garbage(
        images, in_use=kept.get("in_use", set()), named=kept.get("named", set()), disk=disk, sightings=ages, now=NOW
    )


@pytest.mark.parametrize(
    ("available", "wanted"),
    [
        pytest.param(151, 49, id="84.9 %, which kubelet rounds up"),
        pytest.param(160, None, id="just below"),
        pytest.param(150, 50, id="85 % exactly"),
        pytest.param(0, 200, id="full"),
    ],
)
def test_only_a_disk_above_the_threshold_is_cleaned(available: int, wanted: int | None) -> None:
    found = collect(image("a", big=1000), disk=Disk(1000, available))
    assert found == (Garbage() if wanted is None else Garbage(("a",), 1000, wanted))


def test_down_to_the_lower_mark_and_no_further() -> None:
    images = [image(id, **{id: 60}) for id in "abcd"]
    assert collect(*images) == Garbage(("a", "b"), 120, 100)


def test_the_longest_unused_goes_first() -> None:
    ages = {"base": Sighting(0, 500), "web": Sighting(200), "api": Sighting(0, 100), "lost": Sighting(0, 300)}
    assert collect(*ALL, disk=Disk(1000, 0), ages=ages).remove == ("api", "web", "lost", "base")


def test_the_order_in_which_they_are_listed_does_not_matter() -> None:
    assert len({collect(*order) for order in itertools.permutations(ALL)}) == 1


def test_what_is_shared_is_free_only_with_its_last_user() -> None:
    assert collect(WEB, API) == Garbage(("api", "web"), 100, 100)
    assert collect(WEB, API, in_use={"web"}) == Garbage(("api",), 30, 100)


@pytest.mark.parametrize("age", [0.0, 119.0])
def test_what_is_new_stays(age: float) -> None:
    assert collect(WEB, ages={"web": Sighting(NOW - age)}).remove == ()
    assert collect(WEB, ages={"web": Sighting(0, NOW - age)}).remove == ()


def test_two_minutes_are_enough() -> None:
    assert collect(WEB, ages={"web": Sighting(NOW - 120)}).remove == ("web",)


def test_what_nobody_has_looked_at_before_is_new() -> None:
    assert collect(WEB, ages={}).remove == ()


@pytest.mark.parametrize("named", ["web:1", "other/web:9@sha256:web"])
def test_what_a_manifest_names_stays(named: str) -> None:
    assert collect(WEB, API, named={named}).remove == ("api",)


def test_too_little_to_remove_is_told() -> None:
    found = collect(*ALL, in_use={"web", "api"}, named={"base:1"})
    assert found == Garbage(("lost",), 5, 100)


def test_looks_are_remembered() -> None:
    first = remember({}, ["a", "b"], {"a"}, 100.0)
    assert first == {"a": Sighting(100.0, 100.0), "b": Sighting(100.0)}
    then = remember(first, ["a", "b", "c"], set(), 200.0)
    assert then == {"a": Sighting(100.0, 100.0), "b": Sighting(100.0), "c": Sighting(200.0)}
    assert remember(then, ["c"], {"c"}, 300.0) == {"c": Sighting(200.0, 300.0)}


def test_prune_takes_what_dangles_and_with_all_what_is_unused() -> None:
    assert unused(ALL, in_use=set(), named=set(), every=False) == Garbage(("lost",), 5)
    assert unused(ALL, in_use={"lost"}, named=set(), every=False) == Garbage()
    assert unused(ALL, in_use={"web"}, named={"base:1"}, every=True) == Garbage(("api", "lost"), 35)


def test_what_all_take_together() -> None:
    assert total_bytes(ALL) == 105
