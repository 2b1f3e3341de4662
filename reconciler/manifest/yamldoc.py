"""Bytes to documents, reading YAML as Kubernetes reads it, and remembering lines.

Three things are why this is not `yaml.safe_load`: people need the line of every fault; the
API server's YAML is go-yaml's (yamlscalar.py, and the oddities below), not PyYAML's; and
a hostile file must cost little. libyaml scans and parses, in C and without recursion;
yamltree.py puts its events together.

Oddities, each as the API server has it: a duplicate key is an error, also where `<<`
brings it; an anchor may be set again; `\\'` stands for `'` in double quotes; what follows
`...` is not read; a line that begins with `---` always begins a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from reconciler.manifest.problems import Problem, Severity
from reconciler.manifest.yamlerror import TEMPLATE, explain, is_template
from reconciler.manifest.yamltree import Allowance, Composer, Location, Refused

__all__ = ["MAX_BYTES", "MAX_PROBLEMS", "Document", "Location", "line_of", "parse", "too_big"]

MAX_BYTES = 10_000_000  # a file of this size and more is refused; the API server takes 3 MiB an object
MAX_DOCUMENTS = 10_000
MAX_PROBLEMS = 100
_MAX_REREAD_CHARACTERS = 20_000_000

_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_NOTHING = re.compile(r"(?:[ \t]*+(?:#[^\r\n]*+)?(?:\r\n?|\n|\Z))*+")  # blank lines and comments
_DIRECTIVES = re.compile(r"(?:[ \t]*+(?:[#%][^\r\n]*+)?(?:\r\n?|\n))*+")
_LINE_BREAK = re.compile(r"\r\n?|\n")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+', re.DOTALL)
_ESCAPE = re.compile(r"\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    `value` is what JSON could hold: dict with str keys, list, str, int, float, bool, None. It may
    share parts of itself (aliases): do not change it. `line` is where its content begins, from 1.
    `lines` maps the path of every value, such as ("spec", "containers", 0, "image"), to the line of its key
    (of the value itself in a list).
    """

    value: Any
    file: str
    line: int
    lines: Mapping[Location, int]


def line_of(document: Document, location: Location) -> int:
    """The line of `location`, or of the nearest thing around it that stands in the file."""
    for length in range(len(location), 0, -1):
        line = document.lines.get(location[:length])
        if line is not None:
            return line
    return document.line


def parse(content: bytes, file: str) -> tuple[list[Document], list[Problem]]:
    """All documents of a file that could be read, and what is wrong with it. Never raises.

    Empty documents are left out. A document with duplicate keys is among the documents, holding
    the first of each, so that its other faults can be told at once too.
    """
    if len(content) >= MAX_BYTES:
        return [], [Problem(file, 0, "", too_big(len(content)))]
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return [], [Problem(file, _line_at(content[: error.start].decode()), "", _not_utf8(content))]
    if bad := _FORBIDDEN.search(text):
        what = "invisible byte order mark" if bad[0] == "\ufeff" else "control character"
        message = f"the {what} U+{ord(bad[0]):04X} is not allowed here; remove it"
        return [], [Problem(file, _line_at(text, bad.start()), "", message)]
    reading = _Reading(file)
    for number, (first_line, chunk) in enumerate(_chunks(text)):
        if number == MAX_DOCUMENTS:
            reading.report(first_line, "", f"the file holds more than {MAX_DOCUMENTS:,} documents; split it")
            break
        reading.read(chunk, first_line)
        if reading.is_spent:
            break
    return reading.documents, reading.problems


def too_big(size_bytes: int) -> str:
    """Why a file of this size is not read."""
    return f"{size_bytes / 1e6:.1f} MB is too big for a manifest (the limit is {MAX_BYTES // 10**6} MB); split the file"


class _Reading:
    """Reads the chunks of one file, with limits on the whole of it."""

    def __init__(self, file: str) -> None:
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._file = file
        self._allowance = Allowance()
        self._reread = 0  # libyaml always begins at the top of a text, so going back must have an end

    @property
    def is_spent(self) -> bool:
        """Whether the file has held more than it may."""
        return self._allowance.nodes < 0

    def read(self, chunk: str, first_line: int) -> None:
        """Read what stands between two `---`; what is wrong with it becomes a problem."""
        left: str | None = chunk
        while left is not None:
            chunk = left
            try:
                end = self._document(chunk, first_line)
                left = chunk[end:] if end else None
                first_line += _line_at(chunk, end) - 1
            except Refused as refused:
                if is_template(chunk, refused.line - first_line):
                    self.report(refused.line, "", TEMPLATE)
                else:
                    self.report(refused.line, refused.field, refused.message)
                return
            except yaml.MarkedYAMLError as error:
                left = _repaired(chunk, error)
                if left is None:
                    line, message = explain(error, chunk, first_line)
                    self.report(line, "", message)
                    return
            self._reread += len(left or "")
            if self._reread > _MAX_REREAD_CHARACTERS:
                message = "this file is too big for what it holds: write ' instead of \\', and --- between JSON objects"
                self.report(first_line, "", message)
                return

    def report(self, line: int, field: str, message: str, severity: Severity = Severity.ERROR) -> None:
        """Note a problem, up to a number that somebody could still read."""
        if len(self.problems) == MAX_PROBLEMS:
            line, field, message = 0, "", "there are more problems than these; mend these first"
        if len(self.problems) <= MAX_PROBLEMS:
            self.problems.append(Problem(self._file, line, field, message, severity))

    def _document(self, chunk: str, first_line: int) -> int:
        """Read the first document of `chunk`. Returns where another one begins right after it (JSON in a row), or 0."""
        composer = Composer(first_line, self._allowance, self.report)
        for event in yaml.parse(chunk, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentStartEvent):
                if event.version not in (None, (1, 1)):
                    line = first_line + cast(yaml.Mark, event.start_mark).line
                    raise Refused(line, "Kubernetes reads YAML 1.1 only; remove the %YAML directive")
            elif isinstance(event, yaml.DocumentEndEvent):
                if composer.value is not None:
                    lines = composer.lines
                    self.documents.append(Document(composer.value, self._file, lines[()], lines))
                end = cast(yaml.Mark, event.end_mark).index
                return self._after(chunk, end, first_line, explicit=bool(event.explicit))
            else:
                composer.add(event)
        return 0

    def _after(self, chunk: str, end: int, first_line: int, *, explicit: bool) -> int:
        start = cast(re.Match[str], _NOTHING.match(chunk, end)).end()
        if start == len(chunk):
            return 0
        if chunk[start] == "{" and not explicit:
            return start
        line = first_line + _line_at(chunk, start) - 1
        if explicit:
            message = "nothing after `...` is read, as in Kubernetes; begin a further document with `---`"
            self.report(line, "", message, Severity.WARNING)
        else:
            message = "this is outside of the document above: indent it as the first key is, or put `---` before it"
            self.report(line, "", message)
        return 0


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """What stands between the lines that begin with `---`, each with the number of its first line.

    Each is parsed alone, so that a fault in one hides nothing of the others.
    """
    line, start = 1, 0
    for separator in _SEPARATOR.finditer(text):
        end = separator.start()
        if "%" in text[start:end] and cast(re.Match[str], _DIRECTIVES.match(text, start, end)).end() == end:
            continue  # %YAML and %TAG lines belong to the document below them
        yield line, text[start:end]
        line += _line_at(text[start:end]) - 1
        start = end
    yield line, text[start:]


def _line_at(text: str, index: int | None = None) -> int:
    return len(_LINE_BREAK.findall(text, 0, len(text) if index is None else index)) + 1


def _not_utf8(content: bytes) -> str:
    what = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "in another encoding"
    return f"a manifest is UTF-8 text, and this is {what}; save it as UTF-8"


def _repaired(chunk: str, error: yaml.MarkedYAMLError) -> str | None:
    """The chunk with the one double-quoted text mended that libyaml refuses and Kubernetes takes, if it is that."""
    quoted = _QUOTED.match(chunk, error.context_mark.index) if error.context_mark else None
    if quoted is None:
        return None
    json = chunk.lstrip()[:1] in ("{", "[")  # then Kubernetes reads it with a JSON parser: surrogate pairs
    text = _ESCAPE.sub(lambda escape: _unescaped(escape, json), quoted[0])
    return chunk[: quoted.start()] + text + chunk[quoted.end() :] if text != quoted[0] else None


def _unescaped(escape: re.Match[str], json: bool) -> str:
    if escape[1] == "'":
        return "'"
    if json and len(escape[1]) > 1:
        return bytes.fromhex(escape[1].replace("\\", "").replace("u", "")).decode("utf-16-be")
    return escape[0]
