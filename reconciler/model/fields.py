"""The scalar and collection types of the Kubernetes API, decoded as strictly as its server decodes JSON.

Nothing is coerced: "80" is not a number and 1 is not true. A null is the same as nothing written.
Each type is a prepared core schema, so that the hundred models of the API stay cheap to build,
and each failure is one error with one type, which manifest/explain.py puts into words.
"""

from __future__ import annotations

import binascii
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from reconciler.model import quantity


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Annotation that replaces whatever schema the type itself would get."""

    schema: core_schema.CoreSchema

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return self.schema


def _whole(value: float) -> int:
    """YAML's 80.0 is JSON's 80."""
    if not value.is_integer():
        raise ValueError
    return int(value)


def _integer(bits: int) -> core_schema.CoreSchema:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    exact = core_schema.int_schema(strict=True, ge=lowest, le=highest)
    whole = core_schema.chain_schema(
        [core_schema.no_info_after_validator_function(_whole, core_schema.float_schema(strict=True)), exact]
    )
    return core_schema.custom_error_schema(
        core_schema.union_schema([exact, whole], mode="left_to_right"),
        custom_error_type=f"int{bits}",
        custom_error_message="not an integer",
    )


def _text_of(value: Any) -> str:
    """The text of a quantity, which manifests write as a string or as a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PydanticCustomError("quantity_type", "not a quantity")
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)


def _amount(canonical: Callable[[str], str]) -> core_schema.CoreSchema:
    def decode(value: Any) -> str:
        text = _text_of(value)
        try:
            return canonical(text)
        except ValueError as wrong:
            raise PydanticCustomError("quantity", "{reason}", {"reason": str(wrong)}) from None

    return core_schema.no_info_plain_validator_function(decode)


def _base64(value: Any) -> str:
    """Base64 as the API server stores it: without the line breaks that it tolerates."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "not text")
    try:
        return b64encode(binascii.a2b_base64(value.replace("\r", "").replace("\n", ""), strict_mode=True)).decode()
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "not base64") from None


def _fill_map(value: Any) -> Any:
    if isinstance(value, dict) and None in value.values():
        return {key: "" if item is None else item for key, item in value.items()}
    return value


def _fill_list(value: Any) -> Any:
    if isinstance(value, list) and None in value:
        return ["" if item is None else item for item in value]
    return value


_RFC_3339 = (
    r"^[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
    r"(\.[0-9]+)?([Zz]|[+-][0-2][0-9]:[0-5][0-9])$"
)
_TEXT = core_schema.str_schema(strict=True)
_INT32 = _integer(32)
_PORT_OR_PERCENT = core_schema.custom_error_schema(
    core_schema.union_schema([_TEXT, _INT32], mode="left_to_right"),
    custom_error_type="int_or_text",
    custom_error_message="neither",
)


def _map_of(values: core_schema.CoreSchema) -> core_schema.CoreSchema:
    return core_schema.dict_schema(keys_schema=_TEXT, values_schema=values, strict=True)


Text = Annotated[str, _Decoded(_TEXT)]
Flag = Annotated[bool, _Decoded(core_schema.bool_schema(strict=True))]
Int32 = Annotated[int, _Decoded(_INT32)]
Int64 = Annotated[int, _Decoded(_integer(64))]
IntOrText = Annotated[int | str, _Decoded(_PORT_OR_PERCENT)]
Time = Annotated[str, _Decoded(core_schema.str_schema(strict=True, pattern=_RFC_3339))]
Texts = Annotated[
    tuple[str, ...],
    _Decoded(core_schema.no_info_before_validator_function(_fill_list, core_schema.tuple_variable_schema(_TEXT))),
]
TextMap = Annotated[
    Mapping[str, str], _Decoded(core_schema.no_info_before_validator_function(_fill_map, _map_of(_TEXT)))
]
Base64Map = Annotated[Mapping[str, str], _Decoded(_map_of(core_schema.no_info_plain_validator_function(_base64)))]
Anything = Annotated[Mapping[str, Any], _Decoded(core_schema.dict_schema(strict=True))]

Quantity = Annotated[str, _Decoded(_amount(quantity.canonical))]
"""An amount, canonical as the API server prints it; model/quantity.py reads it."""

Amounts = Annotated[Mapping[str, str], _Decoded(_map_of(_amount(quantity.canonical_milli)))]
"""Amounts by resource name ("cpu", "memory"), rounded up to thousandths."""
