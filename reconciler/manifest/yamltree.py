"""The events of one YAML document, put together with the line of every value.

Nothing here recurses and all is counted as it comes: a document nested 10,000 deep, or
one whose aliases multiply, is refused before it costs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from reconciler.manifest.yamlscalar import jsonable, key_text, resolve_plain, resolve_tagged

Location = tuple[str | int, ...]
"""A place in a document: keys and indices, from the root."""

MAX_DEPTH = 200  # a CRD's schema, the deepest in practice, has about 50
MAX_NODES = 300_000  # manifests as people write them have about 70,000 values a megabyte
MAX_ALIASED_NODES = 300_000  # go-yaml lets aliases add 400,000 to a document of any size
MAX_ALIASED_CHARACTERS = 10_000_000

_TOO_DEEP = f"this is nested more than {MAX_DEPTH} levels deep, which no manifest needs"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_MERGE = object()

# The line of a value; of a mapping or sequence also the marks of what it holds.
Marks = int | tuple[int, "dict[str, Marks] | list[Marks]"]


def line_of_marks(marks: Marks) -> int:
    """The line of the value itself."""
    return marks if isinstance(marks, int) else marks[0]


def path_text(location: Location) -> str:
    """`spec.containers[0].image`; keys that are no plain words stand in brackets."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.replace("-", "").replace("_", "").isalnum():
            path += f".{part}" if path else part
        else:
            path += f"[{part}]"
    return path


class Lines(Mapping[Location, int]):
    """The line of every path of a document. Kept as a tree: in a deep document the paths themselves are big."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def __getitem__(self, location: Location) -> int:
        marks = self._marks
        try:
            for part in location:
                # marks[part] of a list or dict, as the value has it at this place
                marks = cast(Any, marks)[1][part]
        except (TypeError, LookupError):
            raise KeyError(location) from None
        return line_of_marks(marks)

    def __iter__(self) -> Iterator[Location]:
        waiting: list[tuple[Location, Marks]] = [((), self._marks)]
        while waiting:
            location, marks = waiting.pop()
            yield location
            if not isinstance(marks, int):
                inside = marks[1]
                items = inside.items() if isinstance(inside, dict) else enumerate(inside)
                waiting.extend(((*location, part), child) for part, child in items)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Refused(Exception):
    """The document cannot be read any further."""

    def __init__(self, line: int, message: str, field: str = "") -> None:
        super().__init__(message)
        self.line, self.message, self.field = line, message, field


@dataclass(slots=True)
class Allowance:
    """How many more values a file may hold, over all its documents."""

    nodes: int = MAX_NODES

    def take(self, line: int) -> None:
        """Raises Refused when nothing is left."""
        self.nodes -= 1
        if self.nodes < 0:
            raise Refused(line, f"the file holds more than {MAX_NODES:,} values; split it into several files")


@dataclass(slots=True)
class _Node:
    """A finished value. `nodes` and `characters` count all in it, aliases followed; `height` is its own depth."""

    value: Any
    marks: Marks
    height: int
    nodes: int
    characters: int
    aliased: bool = False


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not come. `nodes` and `characters` were counted before it."""

    value: Any
    marks: Any
    line: int
    anchor: str | None
    nodes: int
    characters: int
    height: int = 0
    key: Any = None  # str or _MERGE, once the key has come and its value has not
    key_line: int = 0


class Composer:
    """Takes the events of one document between its start and its end; then `value` and `lines` are the document's.

    Lines count from `first_line`, the number of the line on which the parsed text begins. What
    is wrong but leaves the document readable goes to `report(line, field, message)`.
    Raises: Refused, from `add`, for what does not.
    """

    def __init__(self, first_line: int, allowance: Allowance, report: Callable[[int, str, str], None]) -> None:
        self._first_line = first_line
        self._allowance = allowance
        self._report = report
        self._root: _Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, _Node | None] = {}  # None until its end has come
        self._nodes = self._characters = 0
        self._aliased_nodes = self._aliased_characters = 0

    @property
    def value(self) -> Any:
        """dict with str keys, list, str, int, float, bool or None; aliases share parts of it."""
        return None if self._root is None else self._root.value

    @property
    def lines(self) -> Lines:
        return Lines(self._first_line if self._root is None else self._root.marks)

    def add(self, event: yaml.Event) -> None:
        line = self._first_line + (event.start_mark.line if event.start_mark else 0)
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.MappingStartEvent():
                self._start({}, {}, line, event.anchor)
            case yaml.SequenceStartEvent():
                self._start([], [], line, event.anchor)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event.anchor or "", line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        plain = event.implicit[0]
        text: str = event.value
        is_key = bool(self._open) and self._open[-1].key is None and isinstance(self._open[-1].value, dict)
        value: Any = text
        if is_key and text == "<<" and (plain or event.tag == _MERGE_TAG):
            value = _MERGE
        elif event.tag is not None or plain:
            try:
                resolved = resolve_plain(text) if event.tag is None else resolve_tagged(event.tag, text)
                value = resolved if is_key else jsonable(resolved)
            except ValueError as error:
                self._report(line, self._field(), str(error))
        self._allowance.take(line)
        self._nodes += 1
        self._characters += len(text)
        node = _Node(value, line, 0, 1, len(text))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._place(node, line)

    def _alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            raise Refused(line, f"there is no anchor &{name} above this alias", self._field())
        target = self._anchors[name]
        if target is None:
            raise Refused(line, f"the anchor &{name} contains itself", self._field())
        self._nodes += target.nodes
        self._characters += target.characters
        self._aliased_nodes += target.nodes
        self._aliased_characters += target.characters
        if self._aliased_nodes > MAX_ALIASED_NODES or self._aliased_characters > MAX_ALIASED_CHARACTERS:
            raise Refused(line, "the aliases of this document multiply beyond measure; write fewer of them")
        if len(self._open) + target.height > MAX_DEPTH:
            raise Refused(line, _TOO_DEEP)
        marks = line if isinstance(target.marks, int) else (line, target.marks[1])
        self._place(_Node(target.value, marks, target.height, target.nodes, target.characters, aliased=True), line)

    def _start(self, value: Any, marks: Any, line: int, anchor: str | None) -> None:
        if self._open and self._open[-1].key is None and isinstance(self._open[-1].value, dict):
            raise Refused(
                line, "a mapping or a list cannot be a key; quote a text that begins with { or [", self._field()
            )
        if len(self._open) >= MAX_DEPTH:
            raise Refused(line, _TOO_DEEP)
        self._allowance.take(line)
        self._open.append(_Open(value, marks, line, anchor, self._nodes, self._characters))
        self._nodes += 1
        if anchor is not None:
            self._anchors[anchor] = None

    def _end(self) -> None:
        done = self._open.pop()
        line = (self._open[-1].key_line if self._open else 0) or done.line
        nodes, characters = self._nodes - done.nodes, self._characters - done.characters
        node = _Node(done.value, (line, done.marks), done.height + 1, nodes, characters)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._place(node, done.line)

    def _place(self, node: _Node, line: int) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.height = max(parent.height, node.height - (parent.key is _MERGE))  # what is merged stands one level up
        if isinstance(parent.value, list):
            parent.value.append(node.value)
            parent.marks.append(node.marks)
        elif parent.key is None:
            self._key(parent, node, line)
        else:
            key, key_line = parent.key, parent.key_line
            parent.key, parent.key_line = None, 0
            if key is _MERGE:
                self._merge(parent, node, key_line)
            else:
                marks = key_line if isinstance(node.marks, int) else (key_line, node.marks[1])
                self._set(parent, key, node.value, marks)

    def _key(self, parent: _Open, node: _Node, line: int) -> None:
        if isinstance(node.value, dict | list):
            raise Refused(line, "a mapping or a list cannot be a key", self._field())
        try:
            parent.key = _MERGE if node.value is _MERGE else key_text(node.value)
        except ValueError as error:
            raise Refused(line, str(error), self._field()) from None
        parent.key_line = line

    def _merge(self, parent: _Open, node: _Node, line: int) -> None:
        sources: list[tuple[Any, Any]] = [(node.value, node.marks)]
        if isinstance(node.value, list) and not node.aliased:
            sources = list(zip(node.value, cast(Any, node.marks)[1], strict=True))
        for value, marks in sources:
            if not isinstance(value, dict):
                raise Refused(line, "`<<` takes a mapping or a list of mappings", self._field())
            for key, item in value.items():
                self._set(parent, key, item, marks[1][key], merged_at=line)

    def _set(self, parent: _Open, key: str, value: Any, marks: Marks, *, merged_at: int = 0) -> None:
        if key not in parent.value:
            parent.value[key] = value
            parent.marks[key] = marks
            return
        first = line_of_marks(parent.marks[key])
        message = f"this key is already set on line {first}; keep one of the two"
        if merged_at:
            message = f"`<<` brings this key from line {line_of_marks(marks)}, and line {first} has set it; keep one"
        self._report(merged_at or line_of_marks(marks), self._field(key), message)

    def _field(self, *last: str) -> str:
        location: list[str | int] = []
        for frame in self._open:
            if isinstance(frame.value, list):
                location.append(len(frame.value))
            elif isinstance(frame.key, str):
                location.append(frame.key)
        return path_text((*location, *last))
