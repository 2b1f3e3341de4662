"""Quantities of resources: "500m", "1.5Gi", "1e3", exact.

Manifests write one amount in many ways. Everything here counts in whole nanounits, the
smallest that the API knows, so no float is ever involved, and prints as the API server prints.
Source: k8s.io/apimachinery/pkg/api/resource, Quantity.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NANO = 10**9
_LARGEST = (2**63 - 1) * _NANO
_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_MOST_DIGITS = 200  # more is an attack on the big-number arithmetic, not an amount


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[int, str]:
    """Returns: (nanounits, style), style one of "decimal", "binary", "exponent".

    What is finer than a nanounit rounds away from zero; what is larger than an int64 is cut to it.
    Raises: ValueError.
    """
    shape = _SHAPE.fullmatch(text) if len(text) <= _MOST_DIGITS else None
    if shape is None or not (shape[2] or shape[3]):
        raise ValueError(f"{text[:40]!r} is not a quantity{hint(text)}")
    sign, whole, fraction, suffix = shape[1], shape[2] or "", shape[3] or "", shape[4] or ""
    mantissa = int(whole + fraction)
    divisor: int = 10 ** len(fraction)
    style = "decimal"
    if suffix.endswith("i"):
        mantissa <<= 10 * _BINARY.index(suffix)
        style = "binary"
    else:
        if suffix in _DECIMAL:
            exponent = _DECIMAL[suffix]
        else:
            exponent, style = int(suffix[1:]), "exponent"
            if abs(exponent) > _MOST_DIGITS:
                raise ValueError(f"{text[:40]!r} is not a quantity: its exponent is out of range")
        if exponent < 0:
            divisor *= 10**-exponent
        else:
            mantissa *= 10**exponent
    nanos = min(-(-mantissa * _NANO // divisor), _LARGEST)
    if style == "binary" and 0 < nanos < _NANO:
        style = "decimal"
    return (-nanos if sign == "-" else nanos), style


def _render(nanos: int, style: str) -> str:
    if nanos == 0:
        return "0"
    sign, size = ("-", -nanos) if nanos < 0 else ("", nanos)
    if style == "binary":
        if size % _NANO == 0 and size >= 1024 * _NANO:
            amount, power = size // _NANO, 0
            while amount % 1024 == 0 and power < len(_BINARY) - 1:
                amount, power = amount // 1024, power + 1
            return f"{sign}{amount}{_BINARY[power]}"
        style = "decimal"
    amount, exponent = size, -9
    while amount % 1000 == 0 and exponent < 18:
        amount, exponent = amount // 1000, exponent + 3
    if style == "exponent":
        return f"{sign}{amount}e{exponent}" if exponent else f"{sign}{amount}"
    return f"{sign}{amount}{_DECIMAL_SUFFIX[exponent]}"


def canonical(text: str) -> str:
    """The amount as the API server prints it: "1024Mi" is "1Gi", "0.1" is "100m", "1500m" stays.

    Raises: ValueError with what is wrong and, where one suffix is near, what was meant.
    """
    return _render(*_parse(text))


@lru_cache(maxsize=4096)
def canonical_milli(text: str) -> str:
    """`canonical`, rounded up to thousandths first, as the API server does with requests and limits.

    Raises: ValueError, as `canonical`.
    """
    nanos, style = _parse(text)
    sign, size = (-1, -nanos) if nanos < 0 else (1, nanos)
    return _render(sign * -(-size // 10**6) * 10**6, style)


def parse_bytes(text: str) -> int:
    """Read a memory or storage quantity.

    Returns: bytes, an exact integer ("1Ki" is 1024, "1k" is 1000); a part of a byte counts as one.
    Raises: ValueError.
    """
    return -(-_parse(text)[0] // _NANO)


def parse_millicores(text: str) -> int:
    """Read a CPU quantity.

    Returns: thousandths of a core, an exact integer; a part of one counts as one.
    Raises: ValueError.
    """
    return -(-_parse(text)[0] // 10**6)


def compare(left: str, right: str) -> int:
    """Negative, zero or positive as `left` is less, the same amount or more. Raises: ValueError."""
    return _parse(left)[0] - _parse(right)[0]


_MEANT = {
    "b": "", "kb": "k", "mb": "M", "gb": "G", "tb": "T", "kib": "Ki", "mib": "Mi", "gib": "Gi", "tib": "Ti",
    "ki": "Ki", "mi": "Mi", "gi": "Gi", "ti": "Ti", "pi": "Pi", "ei": "Ei", "k": "k", "g": "G", "t": "T",
    "p": "P", "millicores": "m", "cores": "", "core": "", "cpu": "", "cpus": "", "bytes": "",
}  # fmt: skip

_LONGEST_MEANT = 40


def hint(text: str) -> str:
    """'; did you mean "512M"?' when what was written is near a quantity, else ''."""
    near = (
        re.fullmatch(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text) if len(text) <= _LONGEST_MEANT else None
    )
    if near is None:
        return ""
    suffix = near[2] if _SHAPE.fullmatch("1" + near[2]) else _MEANT.get(near[2].lower())
    return "" if suffix is None else f'; did you mean "{near[1]}{suffix}"?'
