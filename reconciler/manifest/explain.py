"""A decoding failure in the words of the person who wrote the manifest.

pydantic knows what is wrong with a value. This knows what to call it, what was probably
meant, and what must not be shown: nothing that may be secret is ever repeated.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, get_args

from reconciler.manifest.yamltree import Location, path_text
from reconciler.model.meta import Declared, model_within

_LONGEST_SHOWN = 60
_DEEPEST = 7  # models inside models, as far as a misplaced field is looked for
_OF_LIST = re.compile(r"\[(\w+\[\])\]")
_UNITS = {"memory": "memory", "cpu": "CPU", "ephemeral-storage": "storage", "storage": "storage", "sizeLimit": "memory"}
_EXPECTED = {
    "string_type": "text",
    "string_pattern_mismatch": "a time such as 2026-01-31T10:00:00Z",
    "bool_type": "true or false",
    "int32": "a whole number",
    "int64": "a whole number",
    "int_or_text": "a whole number or text",
    "quantity_type": "a quantity, such as 500m or 64Mi",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def explain(error: Mapping[str, Any], model: type[Declared], location: Location, *, secret: bool) -> str:
    """One sentence about one of pydantic's errors (`ValidationError.errors()`).

    `model` is what was decoded, `location` where in it, and `secret` keeps the value out of the sentence.
    """
    kind, value = error["type"], error.get("input")
    if kind == "extra_forbidden":
        return _unknown_field(model, location)
    if kind == "base64":
        return "not base64: put plain text under stringData, and base64 of the bytes here"
    if kind == "literal_error" and isinstance(value, str):
        return _unknown_choice(value, _choices(model, location))
    if kind == "quantity" and isinstance(location[-1], str):
        reason: str = error["ctx"]["reason"]
        unit = _UNITS.get(location[-1])
        return reason.replace("is not a quantity", f"is not a {unit} quantity") if unit else reason
    if kind in ("int32", "int64") and isinstance(value, int) and not isinstance(value, bool):
        return f"{value} does not fit: the numbers here have {kind[3:]} bits" if not secret else "too large a number"
    if kind == "literal_error":
        return _wrong_type(value, "text, one of " + ", ".join(_choices(model, location)), secret)
    if (
        kind == "dict_type"
        and location
        and location[-1] in ("labels", "annotations", "matchLabels", "data", "stringData")
    ):
        return _wrong_type(value, "a mapping of names to text", secret)
    return _wrong_type(value, _EXPECTED.get(kind, "something else"), secret)


def _wrong_type(value: Any, expected: str, secret: bool) -> str:
    shown = "" if secret else _scalar(value)
    found = f"{shown} is {_type_name(value)}" if shown else _type_name(value)
    message = f"{found}, and {expected} is expected"
    if expected == "text" and isinstance(value, bool | int | float):
        return f'{message}: write "{_yaml(value)}"' if shown else f"{message}: put it in quotes"
    if expected == "a list" and isinstance(value, dict):
        return f"{message}: begin each item with '- '"
    if isinstance(value, str) and expected.startswith("a whole number") and value.strip().isdigit() and not secret:
        return f"{message}: write {value.strip()} without quotes"
    return message


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= _LONGEST_SHOWN and value.isprintable() else ""
    return _yaml(value) if isinstance(value, bool | int | float) else ""


def _yaml(value: bool | int | float) -> str:
    text = str(value)
    return text.lower() if isinstance(value, bool) else text[:_LONGEST_SHOWN]


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _unknown_choice(value: str, choices: tuple[str, ...]) -> str:
    shown = f'"{value}"' if len(value) <= _LONGEST_SHOWN and value.isprintable() else "this value"
    near = _nearest(value, choices)
    return f"{shown} is not one of {', '.join(c for c in choices if c)}" + (f'; did you mean "{near}"?' if near else "")


def _unknown_field(model: type[Declared], location: Location) -> str:
    if location == ("sops",):
        return "unknown field: the object is encrypted by sops, so decrypt it first"
    meant = _meant(model, location)
    if meant is None:
        return "unknown field"
    if meant[:-1] == location[:-1]:
        return f'unknown field; did you mean "{meant[-1]}"?'
    place = _OF_LIST.sub(r".\1", path_text(meant))
    return f"unknown field here; did you mean {place}?"


def meant_place(model: type[Declared], location: Location) -> Location | None:
    """Where an unknown field at `location` was probably meant to stand, if that is one certain place."""
    meant = _meant(model, location)
    return None if meant is None or any(str(part).endswith("[]") for part in meant) else meant


def _meant(model: type[Declared], location: Location) -> Location | None:
    """A field beside it with nearly its name, or one elsewhere with exactly its name, nearest first.
    Lists that it would be in show as "containers[]"."""
    *around, name = location
    parent = _model_at(model, tuple(around))
    if parent is None:
        return None
    if near := _nearest(str(name), [field.alias or attribute for attribute, field in parent.model_fields.items()]):
        return (*around, near)
    if around and (below := _places(parent).get(str(name))):
        return (*around, *below)
    return _places(model).get(str(name))


def _nearest(name: str, known: list[str] | tuple[str, ...]) -> str | None:
    lowered = {each.lower(): each for each in known if each}
    near = get_close_matches(name.lower()[:100], lowered, n=1, cutoff=0.7)
    return lowered[near[0]] if near else None


def _inner(annotation: Any) -> Iterator[Any]:
    """Every type inside Optional, tuple and Annotated."""
    yield annotation
    for argument in get_args(annotation):
        yield from _inner(argument)


def _field_at(model: type[Declared], location: Location) -> Any:
    """The annotation of the field at `location`, or None."""
    annotation: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        inside = model_within(annotation)
        if inside is None:
            return None
        annotation = next((f.annotation for n, f in inside.model_fields.items() if part in (f.alias, n)), None)
    return annotation


def _model_at(model: type[Declared], location: Location) -> type[Declared] | None:
    return model_within(_field_at(model, location))


def _choices(model: type[Declared], location: Location) -> tuple[str, ...]:
    return tuple(each for each in _inner(_field_at(model, location)) if isinstance(each, str))


@lru_cache(maxsize=64)
def _places(model: type[Declared]) -> Mapping[str, Location]:
    """For every field name below `model`, its nearest place; in containers before elsewhere."""
    found: dict[str, Location] = {}
    ranks: dict[str, tuple[int, bool]] = {}
    queue: deque[tuple[type[Declared], Location]] = deque([(model, ())])
    while queue:
        current, path = queue.popleft()
        rank = (len(path), "containers[]" not in path)
        for attribute, field in current.model_fields.items():
            alias = field.alias or attribute
            if alias not in found or rank < ranks[alias]:
                found[alias], ranks[alias] = (*path, alias), rank
            inside = model_within(field.annotation)
            if inside is not None and len(path) < _DEEPEST:
                many = "[]" if "tuple" in str(field.annotation) else ""
                queue.append((inside, (*path, alias + many)))
    return found
