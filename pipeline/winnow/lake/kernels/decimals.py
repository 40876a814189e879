"""Decimals as what they are equal to: an integer, a double, or neither.

A decimal u/10^s equals a double exactly if, with trailing zeros stripped, 5^s divides
u and u/5^s has at most 53 significant bits (its denominator is then 2^s).
"""

from __future__ import annotations

import struct
from decimal import Context, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.numeric.compiled import compiled

#: What the second word says of the first: an integer's sign, a double's bits, …
POSITIVE, NEGATIVE, DOUBLE, FRACTION = 0, 1, 2, 3
# Longer than two words, so that no text equals some pair of them.
_TEXT = "a decimal number {}e-{}"
_LONGEST_SCALE = 27  # 5^27 < 2^64 < 5^28
_FIVES = np.array([5**i for i in range(_LONGEST_SCALE + 1)], dtype=np.uint64)
_EXACT = Context(prec=200)


def decimal_words(
    values: npt.NDArray[np.uint64], scale: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return two words per value, and which values they cannot hold.

    `values` is `(n, 2)`: little-endian two's complement, as decimal128 is stored.
    The words are those of `number_words` where the value is an integer below 2^64 or
    a double; else the numerator without trailing zeros, and FRACTION with its sign
    and scale.
    """
    first = np.empty(len(values), np.uint64)
    second = np.empty(len(values), np.uint64)
    wide = np.zeros(len(values), np.bool_)
    _decimal_words(values, scale, first, second, wide)
    return first, second, wide


@compiled(inline="always")
def _tenth(high: Any, low: Any) -> Any:
    """Return a 128-bit number's quotient (two words) and remainder by ten."""
    high_ten, carry = high // uint64(10), high % uint64(10)
    upper = (carry << uint64(32)) | (low >> uint64(32))
    lower = ((upper % uint64(10)) << uint64(32)) | (low & uint64(0xFFFFFFFF))
    low_ten = ((upper // uint64(10)) << uint64(32)) | (lower // uint64(10))
    return high_ten, low_ten, lower % uint64(10)


@compiled(inline="always")
def _stripped(high: Any, low: Any, places: Any) -> Any:
    """Take trailing zeros off a numerator as long as there are places."""
    while places > 0:
        if high == 0:
            high_ten, low_ten, digit = high, low // uint64(10), low % uint64(10)
        else:
            high_ten, low_ten, digit = _tenth(high, low)
        if digit:
            break
        high, low, places = high_ten, low_ten, places - 1
    return high, low, places


@compiled
def _decimal_words(values: Any, scale: Any, first: Any, second: Any, wide: Any) -> None:
    for i in range(len(values)):
        low, high = values[i, 0], values[i, 1]
        sign = high >> uint64(63)
        if sign:
            low, high = ~low + uint64(1), ~high + uint64(low == 0)
        high, low, places = _stripped(high, low, scale)
        if high or places < 0 or places > _LONGEST_SCALE:
            wide[i] = True
            continue
        first[i], second[i] = low, sign
        if places > 0:
            quotient = low // _FIVES[places]
            if quotient * _FIVES[places] == low and quotient < uint64(1 << 53):
                # Halving is exact: a double of these sizes is far from subnormal.
                double = np.float64(quotient) / np.float64(uint64(1) << uint64(places))
                first[i] = np.float64(-double if sign else double).view(np.uint64)
                second[i] = uint64(DOUBLE)
            else:
                tag = uint64(FRACTION) | sign << uint64(8)
                second[i] = tag | uint64(places) << uint64(16)


def decimal_encoding(value: Decimal) -> bytes:
    """Return what is hashed of one decimal: two words, or its text if they don't do.

    The same as the kernel's, for the few values that it leaves out: more than 64 bits,
    a negative scale.
    """
    sign, digits, exponent = value.normalize(_EXACT).as_tuple()
    assert isinstance(exponent, int)
    numerator = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    places = max(-exponent, 0)
    if places == 0 and numerator < 2**64:
        return struct.pack("<QQ", numerator, sign if numerator else POSITIVE)
    try:
        double = float(value)
    except OverflowError:
        double = float("inf")
    if abs(double) != float("inf") and Decimal(double) == value:
        return struct.pack("<dQ", double, DOUBLE)
    if 0 < places <= _LONGEST_SCALE and numerator < 2**64:
        return struct.pack("<QQ", numerator, FRACTION | sign << 8 | places << 16)
    return _TEXT.format((1 - 2 * sign) * numerator, places).encode()
