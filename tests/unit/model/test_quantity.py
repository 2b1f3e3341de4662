"""Quantities are exact, and print as the API server prints them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import quantity

UNITS = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1), "k": Fraction(10**3),
    "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15), "E": Fraction(10**18),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50),
    "Ei": Fraction(2**60), "e3": Fraction(1000), "E-3": Fraction(1, 1000), "e+2": Fraction(100),
}  # fmt: skip
LARGEST = 2**63 - 1

written = st.builds(
    lambda sign, whole, fraction, unit: f"{sign}{whole}{'.' + fraction if fraction else ''}{unit}",
    st.sampled_from(["", "+", "-"]),
    st.integers(0, 10**7).map(str),
    st.text("0123456789", max_size=12),
    st.sampled_from(sorted(UNITS)),
)


def exact(text: str) -> Fraction:
    """What the text says, by schoolbook arithmetic."""
    unit = max((u for u in UNITS if text.endswith(u)), key=len)
    return Fraction(text.removesuffix(unit).removeprefix("+")) * UNITS[unit]


def up(value: Fraction, step: Fraction) -> Fraction:
    """Rounded away from zero to a multiple of `step`, and cut to what an int64 holds."""
    steps = -(-abs(value) // step) * step
    return min(steps, Fraction(LARGEST)) * (-1 if value < 0 else 1)


@settings(deadline=None)
@given(written)
def test_the_canonical_form_is_the_same_amount(text: str) -> None:
    assert exact(quantity.canonical(text)) == up(exact(text), Fraction(1, 10**9))


@settings(deadline=None)
@given(written)
def test_the_canonical_form_is_a_fixed_point(text: str) -> None:
    once = quantity.canonical(text)
    assert quantity.canonical(once) == once


@settings(deadline=None)
@given(written)
def test_requests_and_limits_round_up_to_thousandths(text: str) -> None:
    assert exact(quantity.canonical_milli(text)) == up(up(exact(text), Fraction(1, 10**9)), Fraction(1, 1000))


@settings(deadline=None)
@given(written.filter(lambda text: not text.startswith("-")))
def test_bytes_and_millicores_round_up(text: str) -> None:
    amount = up(exact(text), Fraction(1, 10**9))
    assert quantity.parse_bytes(text) == -(-amount // 1)
    assert quantity.parse_millicores(text) == -(-amount * 1000 // 1)


@settings(deadline=None)
@given(written, written)
def test_compare_is_the_order_of_the_amounts(left: str, right: str) -> None:
    difference = up(exact(left), Fraction(1, 10**9)) - up(exact(right), Fraction(1, 10**9))
    assert (quantity.compare(left, right) > 0) == (difference > 0)
    assert (quantity.compare(left, right) == 0) == (difference == 0)


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("0", "0"),
        ("0Mi", "0"),
        ("00.500", "500m"),
        ("0.1", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("2.0", "2"),
        (".5", "500m"),
        ("5.", "5"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000Mi", "1000Mi"),
        ("0.5Ki", "512"),
        ("1Ki", "1Ki"),
        ("1.5", "1500m"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
        ("128000M", "128G"),
        ("1e3", "1e3"),
        ("1000e3", "1e6"),
        ("12E", "9223372036854775807"),
        ("100u", "100u"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.1Mi", "1153433600m"),
        ("-1Gi", "-1Gi"),
    ],
)
def test_canonical(written: str, printed: str) -> None:
    assert quantity.canonical(written) == printed


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("512mb", '"512M"'),
        ("512MB", '"512M"'),
        ("1 Gi", '"1Gi"'),
        ("1gib", '"1Gi"'),
        ("2g", '"2G"'),
        ("64K", '"64k"'),
        ("0.5 cpu", '"0.5"'),
        ("lots", None),
        ("", None),
        ("1.2.3", None),
        ("--1", None),
        ("1e", None),
        (".", None),
        ("1" * 500, None),
        ("1e99999999999", None),
    ],
)
def test_what_is_no_quantity_says_so_and_what_was_meant(written: str, meant: str | None) -> None:
    with pytest.raises(ValueError, match="is not a quantity") as caught:
        quantity.canonical(written)
    assert str(caught.value).endswith(f"did you mean {meant}?") if meant else "did you mean" not in str(caught.value)
