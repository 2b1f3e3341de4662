"""Label and field selectors: parse the text of a query, and say whether an object matches.

Source: k8s.io/apimachinery/pkg/labels and /fields; `!=` and `notin` also match objects
without the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label. `operator` is in | notin | exists | absent | gt | lt;
    the order of `values` does not matter."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels satisfies it."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                (limit,) = self.values
                if value is None or not re.fullmatch(r"[+-]?[0-9]+", value):
                    return False
                return int(value) > int(limit) if self.operator == "gt" else int(value) < int(limit)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Read a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Empty matches all.

    Raises: ValueError with a sentence.
    """
    tokens = _tokens(text)
    requirements: list[Requirement] = []
    while tokens:
        requirements.append(_requirement(tokens))
        if tokens and (tokens.pop(0) != "," or not tokens):
            raise ValueError("expected a comma between requirements and something after it")
    return tuple(requirements)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        assert found is not None  # every character is in one of the two classes
        tokens.append(found[1])
        position = found.end()
    return tokens


def _requirement(tokens: list[str]) -> Requirement:
    negated = tokens[0] == "!"
    if negated:
        tokens.pop(0)
    key = _check_key(tokens.pop(0) if tokens else "")
    if negated:
        return Requirement(key, "absent")
    if not tokens or tokens[0] == ",":
        return Requirement(key, "exists")
    match tokens.pop(0):
        case "=" | "==":
            return Requirement(key, "in", frozenset({_value(tokens)}))
        case "!=":
            return Requirement(key, "notin", frozenset({_value(tokens)}))
        case "in" | "notin" as operator:
            return Requirement(key, operator, _value_set(tokens))
        case ">" | "<" as sign:
            limit = _value(tokens)
            if not re.fullmatch(r"[+-]?[0-9]+", limit):
                raise ValueError(f"{key!r} {sign}: {limit!r} is not an integer")
            return Requirement(key, "gt" if sign == ">" else "lt", frozenset({limit}))
        case other:
            raise ValueError(f"found {other!r} after {key!r}, expected one of: = == != in notin > < or a comma")


def _value(tokens: list[str]) -> str:
    """The next token, or "" when there is none: `a=` selects the empty value."""
    return _check_value(tokens.pop(0)) if tokens and tokens[0] not in ",)" else ""


def _value_set(tokens: list[str]) -> frozenset[str]:
    if not tokens or tokens.pop(0) != "(":
        raise ValueError("expected ( after in or notin")
    values = {_value(tokens)}
    while tokens and tokens[0] == ",":
        tokens.pop(0)
        values.add(_value(tokens))
    if not tokens or tokens.pop(0) != ")":
        raise ValueError("expected ) after the values of in or notin")
    return frozenset(values)


def _check_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and not (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= 253):
        raise ValueError(f"{key!r} is not a label key: what stands before the / must be a DNS name")
    if not _NAME.fullmatch(name) or len(name) > 63:
        raise ValueError(
            f"{key!r} is not a label key: at most 63 letters, digits, '-', '_' or '.', a letter or digit at both ends"
        )
    return key


def _check_value(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 63:
        raise ValueError(
            f"{value!r} is not a label value: at most 63 letters, digits, '-', '_' or '.', "
            "a letter or digit at both ends"
        )
    return value


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One condition on a field, by its selector name (`status.phase`)."""

    field: str
    value: str
    equal: bool = True

    def matches(self, fields: Callable[[str], str]) -> bool:
        """Whether an object with these fields satisfies it."""
        return (fields(self.field) == self.value) is self.equal


def parse_fields(text: str) -> tuple[FieldRequirement, ...]:
    r"""Read a field selector: `status.phase!=Running,metadata.name=web`; `\,`, `\=` and `\\` are literal.

    Raises: ValueError with a sentence.
    """
    requirements: list[FieldRequirement] = []
    for term in re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL):
        found = re.fullmatch(r"((?:\\.|[^=!\\])*)(!=|==|=)(.*)", term, re.DOTALL)
        if not found:
            raise ValueError(f"invalid selector: {text!r}; can't understand {term!r}")
        field, operator, value = found.groups()
        if not re.fullmatch(r"(?:\\[,=\\]|[^,=\\])*", value):
            raise ValueError(f"invalid field selector: invalid character in the value of {term!r}")
        requirements.append(FieldRequirement(field, re.sub(r"\\(.)", r"\1", value), operator != "!="))
    return tuple(requirements)


def field_of(item: Json, path: str) -> str:
    """The text of a field as selectors compare it: absent is "", booleans are true and false."""
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or a watch is about: all that satisfy every part. `namespace` "" is all."""

    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def matches(self, item: Json) -> bool:
        """Whether this object is one of them."""
        metadata = item["metadata"]
        if self.namespace and metadata.get("namespace", "") != self.namespace:
            return False
        labels = metadata.get("labels") or {}
        return all(r.matches(labels) for r in self.labels) and all(
            r.matches(lambda path: field_of(item, path)) for r in self.fields
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing but the namespace narrows it."""
        return not self.labels and not self.fields
