"""YAML is read as the API server reads it, and every fault has its line and its mend.

The expected values are what sigs.k8s.io/yaml (go-yaml v2, strict) makes of the same text.
"""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.manifest.problems import Severity
from reconciler.manifest.yamldoc import MAX_BYTES, Document, line_of, parse
from reconciler.manifest.yamltree import Allowance


def read(text: str | bytes) -> tuple[list[Any], list[str]]:
    documents, problems = parse(text.encode() if isinstance(text, str) else text, "web.yaml")
    return [document.value for document in documents], [str(problem) for problem in problems]


def value(text: str) -> Any:
    values, problems = read(text)
    assert problems == []
    assert len(values) == 1
    return values[0]


def refusal(text: str | bytes) -> str:
    _, problems = read(text)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True), ("on", True), ("y", True), ("NO", False), ("Off", False), ("yEs", "yEs"),
        ("null", None), ("~", None), ("", None), ("nil", "nil"),
        ("0400", 256), ("0o14", 12), ("0x1F", 31), ("-0b11", -3), ("1_000", 1000), ("+12", 12), ("089", 89),
        ("22222:22", "22222:22"), ("1:30:00", "1:30:00"), ("2001-01-01", "2001-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("1.0", 1), ("1e3", 1000), (".5", 0.5), ("-.5", -0.5), ("1.5e-7", 1.5e-7), ("1e999", "1e999"), ("_1", "_1"),
        ("123456789012345678901", 123456789012345680000), ("18446744073709551615", 18446744073709551615),
        ("-9223372036854775809", -9223372036854776000), ("1e21", 1e21), ("0xFFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFFF"),
        ("=", "="), ("<<", "<<"), ("!!str 5", "5"), ("!!int '5'", 5), ("!!float 3", 3), ("!!bool yes", True),
        ("!!binary aGk=", "hi"), ("! 5", "5"), ("!secret x", "x"), ("!!timestamp 2001-01-01", "2001-01-01"),
        ("'yes'", "yes"), ('"0400"', "0400"), (r'"it\'s"', "it's"), ('"a\\\\\'"', "a\\'"),
        ("http://x:80/y", "http://x:80/y"), ("x#y #z", "x#y"), ("b\t# c", "b"), ("1.10", 1.1),
        ("[a:b, http://x, {c: d, e}]", ["a:b", "http://x", {"c": "d", "e": None}]),
        ("|\n  x\n   y\n", "x\n y\n"), (">-\n  x\n  y\n\n  z\n", "x y\nz"), ("x\n  y", "x y"),
    ],
)  # fmt: skip
def test_scalars_are_what_the_api_server_makes_of_them(text: str, expected: Any) -> None:
    got = value(f"a: {text}\n")["a"]
    assert (type(got), got) == (type(expected), expected)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("8080", "8080"), ("0400", "256"), ("yes", "true"), ("off", "false"), ("1.10", "1.1"), ("1e6", "1e+06"),
        ("123456789.5", "1.2345679e+08"), ("0.0001", "0.0001"), ("1e-5", "1e-05"), ("-2.5e3", "-2500"),
        ("1e39", ".inf"), (".nan", ".nan"), ("2001-01-01", "2001-01-01"), ("'8080'", "8080"),
    ],
)  # fmt: skip
def test_keys_become_text(key: str, expected: str) -> None:
    assert value(f"{key}: x\n") == {expected: "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\r\nb:\r\n- c\r\n", [{"a": 1, "b": ["c"]}], id="CRLF"),
        pytest.param("\ufeffa: 1\n", [{"a": 1}], id="byte order mark"),
        pytest.param("a: &x 1\nb: &x 2\nc: *x\n", [{"a": 1, "b": 2, "c": 2}], id="duplicate anchor"),
        pytest.param("x: &x {a: 1}\nz:\n  <<: *x\n  b: 2\n", [{"x": {"a": 1}, "z": {"a": 1, "b": 2}}], id="merge"),
        pytest.param("z:\n  <<: [{a: 1}, {b: 2}]\n", [{"z": {"a": 1, "b": 2}}], id="merge of several"),
        pytest.param("'<<': {a: 1}\n", [{"<<": {"a": 1}}], id="a quoted << merges nothing"),
        pytest.param("---\n# only words\n---\na: 1\n---\n---\nb: 2\n...\n", [{"a": 1}, {"b": 2}], id="several"),
        pytest.param("%YAML 1.1\n---\na: 1\n", [{"a": 1}], id="directive"),
        pytest.param("--- {a: 1}\n--- # words\nb: 2\n", [{"a": 1}, {"b": 2}], id="content beside ---"),
        pytest.param("a: |\n  ---\n  x\n---a: 2\n", [{"a": "---\nx\n", "---a": 2}], id="--- that separates nothing"),
        pytest.param('{"a": [1, true, null, "\\u00e9\\/"]}\n', [{"a": [1, True, None, "é/"]}], id="JSON"),
        pytest.param('{\n\t"a": "\\ud83d\\ude00"\n}\n', [{"a": "😀"}], id="JSON with tabs and a surrogate pair"),
        pytest.param('{"a": 1}\n{"b": 2}{"c": 3}\n', [{"a": 1}, {"b": 2}, {"c": 3}], id="JSON objects in a row"),
        pytest.param('---\n{\n  # KYAML\n  a: "x",\n  b: [\n    1,\n  ],\n}\n', [{"a": "x", "b": [1]}], id="KYAML"),
        pytest.param("", [], id="empty"),
        pytest.param("# nothing\n", [], id="only a comment"),
    ],
)
def test_documents(text: str, expected: list[Any]) -> None:
    assert read(text) == (expected, [])


def test_what_follows_three_dots_is_not_read_and_that_is_said() -> None:
    values, problems = read("a: 1\n...\n# words\n{ not: even yaml\n---\nb: 2\n")
    assert values == [{"a": 1}, {"b": 2}]
    assert problems == [
        "web.yaml:4: nothing after `...` is read, as in Kubernetes; begin a further document with `---`"
    ]
    assert parse(b"a: 1\n...\nb: 2\n", "")[1][0].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", ":4: a.b: this key is already set on line 2; keep one of the two"),
        ("1: a\n'1': b\n", ":2: 1: this key is already set on line 1; keep one of the two"),
        ("- {a: 1,\n   a: 2}\n", ":2: [0].a: this key is already set on line 1; keep one of the two"),
        ("x: &x\n  a: 1\nz:\n  <<: *x\n  a: 2\n", ":5: z.a: this key is already set on line 2; keep one of the two"),
        ("x: &x\n  a: 1\nz:\n  a: 2\n  <<: *x\n",
         ":5: z.a: `<<` brings this key from line 2, and line 4 has set it; keep one"),
        ("x: &x [{a: 1}]\nz:\n  <<: *x\n", ":3: z: `<<` takes a mapping or a list of mappings"),
        ("a: 1\nb:\n\t- c\n", ":3: a tab cannot indent; use spaces"),
        ("a: 1\nb: 2\n  c: 3\n",
         ":3: a `key: value` cannot stand here; check the indentation, and quote a text that holds `: `"),
        ("a:\n  - b\n c: d\n", ":3: this does not line up with the keys that begin on line 1; check the indentation, "
         "and quote a value that goes on after its closing quote or bracket"),
        ("a:\n  - b\n  c: d\n", ":3: this does not line up with the list that begins on line 2; check the indentation"),
        ("a: 'b\nc: d\n", ":1: the quote that opens here is never closed"),
        ("a: [b,\nc: d\n", ":3: the [ on line 1 is not closed before this, or a comma is missing"),
        ("a: {b: c\n", ":2: the { on line 1 is not closed before this, or a comma is missing"),
        ("a: b\nc\n", ":2: this is neither `key: value` nor the rest of a text; check the indentation"),
        ("a: @b\n", ":1: a text that begins with @ must be quoted"),
        ("a: *.txt\n", ":1: an anchor (&) or alias (*) needs a name; quote a text that begins with & or *"),
        ("a: !x!y z\n", ":1: a text that begins with ! is read as a tag; quote it"),
        ("a: *b\n", ":1: a: there is no anchor &b above this alias"),
        ("a: &a\n  - *a\n", ":2: a[0]: the anchor &a contains itself"),
        ('a: "C:\\dir"\n', ":1: there is no such escape in double quotes; write \\\\ for a backslash, "
         "or use single quotes"),
        ("? {a: b}\n: c\n",
         ":1: a mapping or a list cannot be a key; quote a text that begins with { or ["),
        ("~: a\n", ":1: null cannot be a key; quote it if it is meant as text"),
        ("a: .inf\n", ":1: a: not a number that JSON can hold"),
        ("a: !!int x\n", ":1: a: the value is not a !!int"),
        ("%YAML 1.2\n---\na: yes\n", ":1: Kubernetes reads YAML 1.1 only; remove the %YAML directive"),
        (" a: 1\nb: 2\n",
         ":2: this is outside of the document above: indent it as the first key is, or put `---` before it"),
        ("a: 1\nb: \x07\n", ":2: the control character U+0007 is not allowed here; remove it"),
        ("a: 1\n\ufeffb: 2\n", ":2: the invisible byte order mark U+FEFF is not allowed here; remove it"),
        (b"a: 1\nb: \xe9\n", ":2: a manifest is UTF-8 text, and this is in another encoding; save it as UTF-8"),
        ("a: 1\n".encode("utf-16"), ":1: a manifest is UTF-8 text, and this is UTF-16; save it as UTF-8"),
    ],
)  # fmt: skip
def test_a_fault_has_its_line_and_how_to_mend_it(text: str | bytes, expected: str) -> None:
    assert refusal(text) == f"web.yaml{expected}"


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n{{- if .Values.x }}\nb: 2\n{{- end }}\n",
        "a: 1\nb: {{ .Values.x }}\n",
        "a: 1\nb: {{ .Values.x }}-c\n",
        "a: 1\n{% if x %}\nb: 2\n{% endif %}\n",
    ],
)
def test_a_template_is_called_one(text: str) -> None:
    assert refusal(text) == (
        "web.yaml:2: this is a template, not a manifest: render it first, as `helm template` does, or quote the {{ }}"
    )


def test_a_template_in_a_text_is_no_excuse_for_another_fault() -> None:
    assert "template" not in refusal("a: |\n  {{ .x }}\n  y\nb: 1\nc: 2\n d: 3\n")


def test_all_faults_of_all_documents_at_once() -> None:
    values, problems = read("a: 1\na: 2\nb: 3\nb: 4\n---\nc: [\n---\nd: 5\n---\ne: 'x\n")
    assert values == [{"a": 1, "b": 3}, {"d": 5}]
    assert [problem.split(":")[1] for problem in problems] == ["2", "4", "7", "10"]


def test_a_secret_is_not_repeated() -> None:
    for text in ("a: s3cret\n  b: c\n", "a: 's3cret\n", "a: !!int s3cret\n", 'a: "s3cret\\q"\n', "{a: s3cret"):
        assert "s3cret" not in refusal(text)


def test_every_value_has_the_line_of_its_key() -> None:
    text = "# words\nx: &x\n  z: 1\nspec:\n\n  containers:\n  - name: a\n    image: b\n  -\n    name: c\n  more: *x\n"
    [document], _ = parse(text.encode(), "web.yaml")
    assert dict(document.lines) == {
        (): 2, ("x",): 2, ("x", "z"): 3, ("spec",): 4, ("spec", "containers"): 6,
        ("spec", "containers", 0): 7, ("spec", "containers", 0, "name"): 7, ("spec", "containers", 0, "image"): 8,
        ("spec", "containers", 1): 10, ("spec", "containers", 1, "name"): 10,
        ("spec", "more"): 11, ("spec", "more", "z"): 3,
    }  # fmt: skip
    assert document.line == 2
    assert line_of(document, ("spec", "containers", 0, "command", 3)) == 7
    assert line_of(document, ("status", "phase")) == 2
    for strange in (("spec", 0), ("spec", "containers", "name"), ("x", "z", 0), ("spec", "containers", 2)):
        assert strange not in document.lines


def test_lines_count_from_the_top_of_the_file() -> None:
    documents, problems = parse(b"%YAML 1.1\n---\na: 1\r\n---\n\n\nb: 2\n---\nc: 3\nc: 4\n", "web.yaml")
    assert [document.line for document in documents] == [3, 7, 9]
    assert problems[0].line == 10


# What a hostile file may cost: measured generously, as the machine may be busy

BIG = 2_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[" * 10_000 + "]" * 10_000, "nested more than 200 levels", id="flow"),
        pytest.param('{"a":' * 10_000 + "1" + "}" * 10_000, "nested more than 200 levels", id="JSON"),
        pytest.param("".join(f"{' ' * i}a:\n" for i in range(1_500)), "nested more than 200 levels", id="block"),
        pytest.param("- " * 10_000 + "x\n", "nested more than 200 levels", id="lists on a line"),
        pytest.param("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 400)),
                     "nested more than 200 levels", id="nested by aliases"),
        pytest.param("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
                     + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20)),
                     "aliases of this document multiply", id="alias bomb"),
        pytest.param(f"a: &a {'x' * 100_000}\nb: [{'*a,' * 1_000}]\n", "aliases of this document multiply",
                     id="alias bomb of text"),
        pytest.param("a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, 2000)),
                     "aliases of this document multiply", id="merge bomb"),
        pytest.param("---\n" * (BIG // 4), "more than 10,000 documents", id="documents"),
        pytest.param("{}" * (BIG // 2), "too big for what it holds", id="JSON in a row"),
        pytest.param("- \"\\'\"\n" * (BIG // 7), "too big for what it holds", id="escapes"),
        pytest.param("%a\n" * (BIG // 3) + "x", "unknown directive", id="directives"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_soon(text: str, expected: str) -> None:
    start = time.process_time()
    _, problems = read(text)
    assert time.process_time() - start < 5
    assert expected in problems[0]
    assert len(problems) == 1


def test_there_is_an_end_to_the_values_of_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.manifest.yamldoc.Allowance", lambda: Allowance(1_000))
    text = "---\n- a\n- {b: c}\n" * 200 + "---\n- a\n" * 4
    assert refusal(text) == "web.yaml:602: the file holds more than 300,000 values; split it into several files"


def test_a_bomb_costs_no_memory() -> None:
    text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20)
    )
    tracemalloc.start()
    try:
        read(text)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_ten_megabytes_are_refused_unread() -> None:
    start = time.process_time()
    assert refusal(b"a: b\n" * (MAX_BYTES // 5)) == (
        "web.yaml: 10.0 MB is too big for a manifest (the limit is 10 MB); split the file"
    )
    assert time.process_time() - start < 0.1
    assert read(b"# " + b"x" * (MAX_BYTES - 3)) == ([], [])


def test_there_is_an_end_to_the_problems_of_one_file() -> None:
    _, problems = read("a: 1\n" * 5_000)
    assert len(problems) == 101
    assert problems[-1] == "web.yaml: there are more problems than these; mend these first"


def test_aliases_as_people_use_them_are_no_bomb() -> None:
    text = "x: &x {a: 1, b: [1, 2, 3]}\n" + "".join(f"y{i}: *x\n" for i in range(1_000))
    assert value(text)["y999"] == {"a": 1, "b": [1, 2, 3]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"))
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


def as_json_has_it(data: Any) -> Any:
    """Go writes an integral float without a point, and so it is read back as an integer."""
    match data:
        case float() if data.is_integer() and abs(data) < 1e21:
            return int(float(repr(data)))
        case list():
            return [as_json_has_it(item) for item in data]
        case dict():
            return {key: as_json_has_it(item) for key, item in data.items()}
    return data


@settings(deadline=None)
@given(json_values.filter(lambda data: data is not None), st.sampled_from([None, 2]))
@example({"a": "\u2028\x85 😀\x00"}, None)
def test_all_json_reads_as_itself(data: Any, indent: int | None) -> None:
    [got] = [d.value for d in parse(json.dumps([data], indent=indent).encode(), "a.json")[0]]
    assert got == [as_json_has_it(data)] or _close(got, [as_json_has_it(data)])


def _close(got: Any, want: Any) -> bool:
    """Equal but for integers above 2^53 that came from floats."""
    if isinstance(want, list):
        return len(got) == len(want) and all(map(_close, got, want))
    if isinstance(want, dict):
        return got.keys() == want.keys() and all(_close(got[key], want[key]) for key in want)
    if isinstance(want, int | float) and not isinstance(want, bool):
        return isinstance(got, int | float) and math.isclose(got, want, rel_tol=1e-15)
    return bool(got == want)


@settings(deadline=None)
@given(st.text(st.sampled_from("abc:-?[]{},&*!|>'\"%@`# \n\t\r\\~=<.0123x_e+"), max_size=60) | st.binary(max_size=60))
def test_garbage_never_raises_and_always_has_a_line(garbage: str | bytes) -> None:
    documents, problems = parse(garbage if isinstance(garbage, bytes) else garbage.encode(), "x")
    lines = (garbage if isinstance(garbage, str) else garbage.decode(errors="replace")).count("\n") + 2
    for problem in problems:
        assert 0 < problem.line <= lines + 60
        assert "\n" not in problem.message
    for document in documents:
        json.dumps(document.value, allow_nan=False)
        assert all(line > 0 for line in document.lines.values())


@settings(deadline=None)
@given(st.dictionaries(st.text("ab.c/-", min_size=1, max_size=8), json_values, max_size=4))
def test_the_lines_are_where_the_keys_are(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data, default_flow_style=False, allow_unicode=False, width=10_000)
    documents, problems = parse(text.encode(), "x")
    if not data or problems:
        return
    lines = text.splitlines()
    [document] = documents
    for key in data:
        assert key.strip() in lines[document.lines[(key,)] - 1].replace("''", "'")
    assert isinstance(document, Document)
