"""The base of all that a user may write, and what every object carries.

The models follow Go's types of the API, field by field. A Go pointer is `X | None = None`: an
explicit zero is kept. A Go value is `X = <its default>`: an explicit zero means the default.
Modules of the model name no types before they are defined, and so need no
`from __future__ import annotations`: resolving a thousand strings at start would cost 100 ms.
"""

from collections.abc import Mapping
from types import NoneType
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from reconciler.model.fields import Anything, Flag, Int64, Text, TextMap, Texts, Time

_UPPER = {"ip": "IP", "ips": "IPs", "ipc": "IPC", "pid": "PID", "id": "ID", "fqdn": "FQDN", "api": "API",
          "uuid": "UUID", "uri": "URI", "wwns": "WWNs", "io": "IO", "os": "OS"}  # fmt: skip


def _camel(name: str) -> str:
    """host_ip is hostIP, api_version is apiVersion: acronyms as the API writes them."""
    first, *rest = name.split("_")
    return first + "".join(_UPPER.get(word) or word.capitalize() for word in rest)


def _is_pointer(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)


class Declared(BaseModel):
    """Base of all a user may write: frozen, camelCase, and no unknown key passes.

    Python code builds by the names of attributes; manifests are read with `by_name=False`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_camel,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,
    )

    zero_is_unset: ClassVar[frozenset[str]] = frozenset()
    """Aliases whose "" or 0 means the default. Values with a text as default are always among them."""

    always_shown: ClassVar[frozenset[str]] = frozenset()
    """Aliases that `to_json` shows even when they are "" or 0."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.zero_is_unset = cls.zero_is_unset | {
            field.alias or name
            for name, field in cls.model_fields.items()
            if field.default and isinstance(field.default, str) and not _is_pointer(field)
        }

    @model_validator(mode="before")
    @classmethod
    def _normalize(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {key: value for key, value in data.items() if value is not None}
        for key in cls.zero_is_unset & kept.keys():
            if kept[key] in ("", 0) and not isinstance(kept[key], bool):
                del kept[key]
        cls.complete(kept)
        return kept

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        """Fill in, by alias and in place, the defaults that depend on other fields. The values
        are not validated yet: what is of a wrong type is left alone."""


def model_within(annotation: Any) -> "type[Declared] | None":
    """The model in the annotation of a field: of `X`, `X | None` and `tuple[X, ...]` it is X."""
    if isinstance(annotation, type) and issubclass(annotation, Declared):
        return annotation
    return next(filter(None, map(model_within, get_args(annotation))), None)


_Shown = tuple[tuple[str, str, bool], ...]
_SHOWN: dict[type[BaseModel], _Shown] = {}


def _shown(model: type[Declared]) -> _Shown:
    """(attribute, alias, whether shown when empty) of every field."""
    return tuple(
        (name, field.alias or name, _is_pointer(field) or (field.alias or name) in model.always_shown)
        for name, field in model.model_fields.items()
    )


def _json(value: Any) -> Any:
    if isinstance(value, Declared):
        return to_json(value)
    if isinstance(value, tuple | list):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


def to_json(model: Declared) -> dict[str, Any]:
    """The JSON that the API server shows of it: camelCase, defaults filled in, empty values left out."""
    kind = type(model)
    if kind not in _SHOWN:
        _SHOWN[kind] = _shown(kind)
    out: dict[str, Any] = {}
    for name, alias, when_empty in _SHOWN[kind]:
        value = getattr(model, name)
        if value is None or not (value or when_empty):
            continue
        out[alias] = value if isinstance(value, str | int) else _json(value)
    return out


class OwnerReference(Declared):
    api_version: Text = ""
    kind: Text = ""
    name: Text = ""
    uid: Text = ""
    controller: Flag | None = None
    block_owner_deletion: Flag | None = None


class ManagedFieldsEntry(Declared):
    manager: Text = ""
    operation: Text = ""
    api_version: Text = ""
    time: Time | None = None
    fields_type: Text = ""
    fields_v1: Anything | None = None
    subresource: Text = ""


class ObjectMeta(Declared):
    name: Text = ""
    generate_name: Text = ""
    namespace: Text = ""
    self_link: Text = ""
    uid: Text = ""
    resource_version: Text = ""
    generation: Int64 = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: Int64 | None = None
    labels: TextMap = Field(default_factory=dict)
    annotations: TextMap = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: Texts = ()
    managed_fields: tuple[ManagedFieldsEntry, ...] = ()


class LabelSelectorRequirement(Declared):
    key: Text = ""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] | None = None
    values: Texts = ()


class LabelSelector(Declared):
    """A query over labels. All requirements must hold; an empty selector selects everything."""

    match_labels: TextMap = Field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with `labels` is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _holds(requirement, labels) for requirement in self.match_expressions
        )


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
        case _:
            return False


class KubeObject(Declared):
    """An object of the API."""

    api_version: Text = ""
    kind: Text = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
