"""No object vanishes because a file broke, whatever it broke into."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.reader import Reader, Reading
from reconciler.model.ref import Ref


def config_map(name: str, text: str = "") -> str:
    return f"---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  text: '{text}'\n"


def content(*names: str, text: str = "") -> bytes:
    return "".join(config_map(name, text) for name in names).encode()


def ref(name: str) -> Ref:
    return Ref("ConfigMap", "default", name)


def shown(reading: Reading) -> dict[str, str]:
    """name -> file of all that is declared"""
    return {r.name: entry.file for r, entry in reading.objects.items()}


def said(reading: Reading) -> list[str]:
    return [str(problem) for problem in reading.problems]


BROKEN = b"a: [1\n"


def test_a_broken_file_keeps_its_last_good_objects_and_the_others_go_on() -> None:
    reader = Reader()
    reader.read({"a.yaml": content("a1", "a2"), "b.yaml": content("b")})
    reading = reader.read({"a.yaml": BROKEN, "b.yaml": content("b", "b2")})
    assert shown(reading) == {"a1": "a.yaml", "a2": "a.yaml", "b": "b.yaml", "b2": "b.yaml"}
    assert said(reading) == ["a.yaml:2: the [ on line 1 is not closed before this, or a comma is missing"]
    assert reading.last_good["a.yaml"] == content("a1", "a2")
    assert reading.unknown == frozenset()
    mended = reader.read({"a.yaml": content("a2"), "b.yaml": content("b", "b2")})
    assert (shown(mended), mended.problems) == ({"a2": "a.yaml", "b": "b.yaml", "b2": "b.yaml"}, ())


def test_one_faulty_object_keeps_back_its_whole_file() -> None:
    reader = Reader()
    reader.read({"a.yaml": content("a1", text="old")})
    reading = reader.read({"a.yaml": content("a1", text="new") + b"---\napiVersion: v1\nkind: Pod\nspec: {}\n"})
    assert reading.last_good["a.yaml"] == content("a1", text="old")
    assert reading.objects[ref("a1")].object.data["text"] == "old"


def test_a_kind_that_is_not_supported_keeps_back_only_itself() -> None:
    service = b"---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
    reading = Reader().read({"a.yaml": content("a1") + service})
    assert shown(reading) == {"a1": "a.yaml"}
    assert [(p.line, p.scope) for p in reading.problems] == [(10, "object")]
    assert "a.yaml" in reading.last_good


def test_a_deleted_file_is_deleted() -> None:
    reader = Reader()
    reader.read({"a.yaml": content("a"), "b.yaml": BROKEN})
    assert shown(reader.read({})) == {}
    assert reader.read({}).last_good == {}


def test_the_last_good_objects_outlive_the_process() -> None:
    first = Reader().read({"a.yaml": content("a"), "b.yaml": content("b")})
    reading = Reader(first.last_good).read({"a.yaml": BROKEN, "b.yaml": content("b")})
    assert shown(reading) == {"a": "a.yaml", "b": "b.yaml"}


def test_what_was_never_read_is_unknown() -> None:
    reading = Reader().read({"a.yaml": BROKEN, "b.yaml": content("b")}, {"c": "cannot be read: Permission denied"})
    assert reading.unknown == {"a.yaml", "c"}
    assert said(reading)[1] == "c: cannot be read: Permission denied"


def test_what_a_stricter_version_refuses_is_unknown_and_not_gone() -> None:
    reading = Reader({"a.yaml": BROKEN}).read({"a.yaml": BROKEN})
    assert (shown(reading), reading.unknown) == ({}, {"a.yaml"})


@pytest.mark.parametrize("path", ["sub", "sub/a.yaml", ".", ""])
def test_what_lies_under_an_unreadable_path_stays(path: str) -> None:
    reader = Reader()
    reader.read({"sub/a.yaml": content("a"), "substitute.yaml": content("b")})
    reading = reader.read({"substitute.yaml": content("b")}, {path: "cannot be read: Input/output error"})
    assert shown(reading) == {"a": "sub/a.yaml", "b": "substitute.yaml"}
    assert reading.unknown == frozenset()
    assert shown(reader.read({"substitute.yaml": content("b")})) == {"b": "substitute.yaml"}


def test_unreadable_covers_nothing_beside_it() -> None:
    reader = Reader()
    reader.read({"sub/a.yaml": content("a"), "substitute.yaml": content("b")})
    assert shown(reader.read({}, {"sub": "gone"})) == {"a": "sub/a.yaml"}


# One object in two places


def test_two_new_files_with_one_object_are_both_refused_and_name_each_other() -> None:
    reading = Reader().read({"a.yaml": content("x", "a"), "b.yaml": content("b", "x"), "c.yaml": content("c")})
    assert shown(reading) == {"c": "c.yaml"}
    assert said(reading) == [
        "a.yaml:2: ConfigMap/default/x is declared in b.yaml:9 too; keep one (none of them is applied)",
        "b.yaml:9: ConfigMap/default/x is declared in a.yaml:2 too; keep one (none of them is applied)",
    ]
    assert reading.unknown == {"a.yaml", "b.yaml"}


@pytest.mark.parametrize("newcomer", ["0.yaml", "z.yaml"])
def test_an_object_stays_in_the_file_that_has_had_it(newcomer: str) -> None:
    reader = Reader()
    reader.read({"a.yaml": content("x")})
    files = {"a.yaml": content("x", text="edited"), newcomer: content("k", "x")}
    reading = reader.read(files)
    assert shown(reading) == {"x": "a.yaml"}
    assert reading.objects[ref("x")].object.data["text"] == "edited"
    assert set(said(reading)) == {
        f"a.yaml:2: ConfigMap/default/x is declared in {newcomer}:9 too; keep one (this one stays applied)",
        f"{newcomer}:9: ConfigMap/default/x is declared in a.yaml:2 too; keep one (the one in a.yaml stays applied)",
    }
    again = Reader(reading.last_good).read(files)
    assert shown(again) == {"x": "a.yaml"}
    moved = reader.read({"a.yaml": content("other"), newcomer: content("k", "x")})
    assert (shown(moved), moved.problems) == ({"other": "a.yaml", "x": newcomer, "k": newcomer}, ())


def test_a_file_that_goes_back_to_what_it_was_takes_back_what_it_had() -> None:
    """b hands k to c and takes x of a: as it may not have x it stays as it was, and so c may not have k."""
    reader = Reader()
    reader.read({"a.yaml": content("x"), "b.yaml": content("k"), "c.yaml": content("z")})
    reading = reader.read({"a.yaml": content("x"), "b.yaml": content("x"), "c.yaml": content("z", "k")})
    assert shown(reading) == {"x": "a.yaml", "k": "b.yaml", "z": "c.yaml"}
    assert {problem.file for problem in reading.problems} == {"a.yaml", "b.yaml", "c.yaml"}


def test_an_object_of_a_broken_file_stays_there() -> None:
    reader = Reader()
    reader.read({"a.yaml": content("x")})
    reading = reader.read({"a.yaml": BROKEN, "b.yaml": content("x")})
    assert shown(reading) == {"x": "a.yaml"}


def test_a_renamed_file_is_no_duplicate() -> None:
    reader = Reader()
    reader.read({"a.yaml": content("x")})
    reading = reader.read({"b.yaml": content("x")})
    assert (shown(reading), reading.problems) == ({"x": "b.yaml"}, ())


def test_twice_in_one_file() -> None:
    reading = Reader().read({"a.yaml": content("x", "k", "x")})
    assert said(reading) == ["a.yaml:16: ConfigMap/default/x is already declared on line 2; keep one of the two"]
    assert shown(reading) == {}


# Properties

few = settings(max_examples=50, deadline=None)

garbage = st.one_of(
    st.binary(max_size=40),
    st.text(st.sampled_from("abkind:-{}[]\n \t'\"&*"), max_size=40).map(str.encode),
    st.integers(0, 200).map(lambda cut: content("x", "k")[:cut] + b"\n]"),
)
names = st.sampled_from(["o1", "o2", "o3", "o4"])
file_contents = st.one_of(st.lists(names, max_size=3).map(lambda found: content(*found)), garbage)
folders = st.dictionaries(st.sampled_from(["a.yaml", "b.yaml", "sub/c.yaml", "sub/d.json"]), file_contents)


def facts(reading: Reading) -> tuple[dict[str, str], list[str], Mapping[str, bytes], frozenset[str]]:
    return shown(reading), said(reading), dict(reading.last_good), reading.unknown


def is_whole(data: bytes) -> bool:
    return bool(Reader().read({"x": data}).last_good)


@few
@given(st.sampled_from(["a.yaml", "b.yaml"]), garbage)
def test_whatever_garbage_a_file_becomes_all_objects_stay(file: str, data: bytes) -> None:
    if is_whole(data):
        return  # by chance it is a manifest, or empty, which declares nothing
    reader = Reader()
    before = reader.read({"a.yaml": content("a"), "b.yaml": content("b1", "b2")})
    after = reader.read({"a.yaml": content("a"), "b.yaml": content("b1", "b2")} | {file: data})
    assert shown(after) == shown(before)
    assert after.last_good == before.last_good
    assert any(problem.file == file for problem in after.problems)


@few
@given(st.lists(folders, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(history: list[dict[str, bytes]], random) -> None:
    one, other = Reader(), Reader()
    for folder in history:
        items = list(folder.items())
        random.shuffle(items)
        assert facts(one.read(folder)) == facts(other.read(dict(items)))


@few
@given(st.lists(folders, min_size=1, max_size=4))
def test_every_object_comes_from_exactly_one_file_as_that_was_last_good(history: list[dict[str, bytes]]) -> None:
    reader = Reader()
    for folder in history:
        reading = reader.read(folder)
        declared: dict[str, str] = {}
        for file, data in reading.last_good.items():
            assert file in folder
            alone = Reader().read({file: data})
            assert alone.problems == () or all(p.scope == "object" for p in alone.problems)
            for name in shown(alone):
                assert name not in declared
                declared[name] = file
        assert shown(reading) == declared
        assert reading.unknown == set(folder) - set(reading.last_good)


@few
@given(st.lists(folders, min_size=1, max_size=3))
def test_a_new_process_goes_on_where_the_old_one_was(history: list[dict[str, bytes]]) -> None:
    reader = Reader()
    for folder in history:
        reading = reader.read(folder)
    again = Reader(reading.last_good).read(history[-1])
    assert (shown(again), again.last_good) == (shown(reading), reading.last_good)


@few
@given(folders, folders)
def test_objects_only_go_when_a_file_that_can_be_read_does_without_them(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    reader = Reader()
    first = reader.read(before)
    second = reader.read(after)
    for name in shown(first).keys() - shown(second).keys():
        file = shown(first)[name]
        assert file not in after or second.last_good[file] == after[file]


def test_a_thousand_unchanged_files_cost_next_to_nothing() -> None:
    files = {f"{i:04}.yaml": content(f"c{i}") for i in range(1_000)}
    reader = Reader()
    first = reader.read(files)
    assert len(first.objects) == 1_000
    start = time.process_time()
    assert reader.read(dict(files)) is first
    assert time.process_time() - start < 0.02
    start = time.process_time()
    one_more = reader.read(files | {"new.yaml": content("new")})
    assert time.process_time() - start < 0.1
    assert len(one_more.objects) == 1_001


def test_there_is_an_end_to_the_problems_of_one_file() -> None:
    reading = Reader().read({"a.yaml": b"apiVersion: v1\nkind: List\nitems: [" + b"{}," * 1_000 + b"]\n"})
    assert len(reading.problems) == 101
    assert said(reading)[0] == "a.yaml: 1,900 more problems of this file are not shown; mend these first"
    assert reading.unknown == {"a.yaml"}


def test_json_and_lists_are_files_like_others() -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "j"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [item, {**item, "metadata": {"name": "k"}}]}
    reading = Reader().read({"a.json": json.dumps(listed, indent=1).encode()})
    assert shown(reading) == {"j": "a.json", "k": "a.json"}
    assert reading.objects[ref("k")].line == 12
