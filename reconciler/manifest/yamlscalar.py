"""What a scalar of a YAML file means to Kubernetes.

Kubernetes reads YAML 1.1 through go-yaml v2 and turns it into JSON before it looks at any
type. So `on` is a boolean, `0400` an octal number and `1.0` the integer 1, while base 60
(`22222:22`) and dates stay text. Neither PyYAML nor YAML 1.2 agree with all of that.

Source: gopkg.in/yaml.v2 resolve.go; sigs.k8s.io/yaml; Go's encoding/json for numbers.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from decimal import Decimal

Scalar = str | int | float | bool | None

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
}
_NUMERIC = frozenset("0123456789+-.")  # what a number can begin with; `_1` is text
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_POINT_FLOAT = re.compile(r"\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1
_JSON_EXPONENT = 1e21  # from here on Go writes a float with an exponent, so it is no integer any more


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    return _number(text)


def resolve_tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag (the long form).

    Raises: ValueError, one sentence without the text, which may be a secret.
    """
    name = tag.removeprefix(_TAG)
    if name == "binary":
        try:
            return base64.b64decode(text, validate=False).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError("the value of !!binary is not base64 of UTF-8 text") from None
    if name not in ("null", "bool", "int", "float"):
        return text  # !!str, !!timestamp, and tags that nobody knows
    value = resolve_plain(text)
    match name, value:
        case ("null", None) | ("bool", bool()) | ("float", float()):
            return value
        case ("int" | "float", int()) if not isinstance(value, bool):
            return value
    raise ValueError(f"the value is not a !!{name}")


def jsonable(value: Scalar) -> Scalar:
    """`value` as it is after its way through JSON: an integral float is an integer.

    Raises: ValueError for what JSON has no number for.
    """
    if not isinstance(value, float):
        return value
    if math.isnan(value) or math.isinf(value):
        raise ValueError("not a number that JSON can hold")
    if value.is_integer() and abs(value) < _JSON_EXPONENT:
        return int(Decimal(repr(value)))
    return value


def key_text(value: Scalar) -> str:
    """The text that a mapping's key becomes. Floats pass through 32 bits, as they do there.

    Raises: ValueError for null.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float32_text(value)
    raise ValueError("null cannot be a key; quote it if it is meant as text")


def _number(text: str) -> Scalar:
    if text[0] == ".":
        return _float(text, text) if _POINT_FLOAT.fullmatch(text) else text
    plain = text.replace("_", "")
    if found := _INTEGER.fullmatch(plain):
        sign, hexadecimal, binary, octal, decimal = found.groups()
        # int() refuses absurdly long decimals, and those are floats in any case
        digits, base = next((d, b) for d, b in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if d)
        if len(digits) <= 64:
            number = int(sign + digits, base)
            if _INT64_MIN <= number <= (_UINT64_MAX if not sign else -_INT64_MIN - 1):
                return number
    return _float(plain, text) if _FLOAT.fullmatch(plain) else text


def _float(plain: str, text: str) -> float | str:
    number = float(plain)
    return text if math.isinf(number) else number  # out of range is an error there, and so it stays text


def _float32_text(value: float) -> str:
    """Go's FormatFloat(value, 'g', -1, 32): the fewest digits that give the same 32-bit float."""
    if math.isnan(value):
        return ".nan"
    try:
        narrow = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        narrow = math.copysign(math.inf, value)
    if math.isinf(narrow):
        return ".inf" if narrow > 0 else "-.inf"
    scientific = next(
        text
        for digits in range(9)
        if struct.pack("f", float(text := f"{narrow:.{digits}e}")) == struct.pack("f", narrow)
    )
    mantissa, exponent = scientific.split("e")
    power = int(exponent)
    if power < -4 or power >= 6:
        return scientific
    decimals = len(mantissa.lstrip("-").replace(".", "")) - 1 - power
    return f"{narrow:.{max(decimals, 0)}f}"
