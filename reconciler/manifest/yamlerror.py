"""libyaml's complaints, in words that say how to mend the file.

A parser says what it did not find; people want to know what they did. None of the
sentences holds text of the file, which may be a Secret.
"""

from __future__ import annotations

import re

import yaml

_TEMPLATE_MARK = re.compile(r"\{\{|\{%")
TEMPLATE = "this is a template, not a manifest: render it first, as `helm template` does, or quote the {{ }}"

# problem of libyaml -> what it means; {line} is where that which libyaml was reading began
_MEANINGS = {
    "could not find expected ':'": "this is neither `key: value` nor the rest of a text; check the indentation",
    "mapping values are not allowed in this context": (
        "a `key: value` cannot stand here; check the indentation, and quote a text that holds `: `"
    ),
    "mapping keys are not allowed in this context": "a `? key` cannot stand here; check the indentation",
    "block sequence entries are not allowed in this context": (
        "a list item (`- `) cannot stand here; put it on a line of its own and check the indentation"
    ),
    "found unexpected end of stream": "the quote that opens here is never closed",
    "found unexpected document indicator": "the quote that opens here is never closed",
    "found unknown escape character": (
        "there is no such escape in double quotes; write \\\\ for a backslash, or use single quotes"
    ),
    "did not find expected hexdecimal number": "an escape \\x, \\u or \\U needs 2, 4 or 8 hexadecimal digits",
    "found invalid Unicode character escape code": "this escape is no character; beyond \\uFFFF write \\U",
    "did not find expected comment or line break": "nothing may follow | or > on its line but a comment",
    "found a tab character where an indentation space is expected": "a tab cannot indent; use spaces",
    "found an indentation indicator equal to 0": "the indentation given after | or > must be 1 to 9",
    "did not find expected alphabetic or numeric character": (
        "an anchor (&) or alias (*) needs a name; quote a text that begins with & or *"
    ),
    "found undefined tag handle": "a text that begins with ! is read as a tag; quote it",
    "did not find expected key": (
        "this does not line up with the keys that begin on line {line}; check the indentation, and quote "
        "a value that goes on after its closing quote or bracket"
    ),
    "did not find expected '-' indicator": (
        "this does not line up with the list that begins on line {line}; check the indentation"
    ),
    "did not find expected ',' or ']'": "the [ on line {line} is not closed before this, or a comma is missing",
    "did not find expected ',' or '}'": "the {{ on line {line} is not closed before this, or a comma is missing",
    "did not find expected node content": "a value is missing here",
    "did not find expected <document start>": "a document must begin here, with `---`",
}
_AT_CONTEXT = {"could not find expected ':'", "found unexpected end of stream", "found unexpected document indicator"}
_BAD_START = "found character that cannot start any token"
_UNQUOTED_STARTS = "@`%"


def is_template(text: str, line: int) -> bool:
    """Whether what is wrong on `line` of `text`, from 0, comes of a template language."""
    lines = text.split("\n")
    return any(_TEMPLATE_MARK.search(near) for near in lines[max(line - 1, 0) : line + 1])


def explain(error: yaml.MarkedYAMLError, text: str, first_line: int) -> tuple[int, str]:
    """The line in the file and one sentence for an error of parsing `text`, which begins on `first_line`."""
    problem = error.problem or "this is not YAML"
    mark = error.problem_mark
    if (problem in _AT_CONTEXT and error.context_mark is not None) or mark is None:
        mark = error.context_mark
    line = mark.line if mark is not None else 0
    if is_template(text, line):
        return first_line + line, TEMPLATE
    if problem == _BAD_START and mark is not None:
        return first_line + line, _bad_start(text[mark.index : mark.index + 1])
    began = error.context_mark.line if error.context_mark is not None else line
    meaning = _MEANINGS.get(problem)
    return first_line + line, meaning.format(line=first_line + began) if meaning else problem


def _bad_start(character: str) -> str:
    if character == "\t":
        return "a tab cannot indent; use spaces"
    if character and character in _UNQUOTED_STARTS:
        return f"a text that begins with {character} must be quoted"
    return "this character cannot stand here; quote the text"
