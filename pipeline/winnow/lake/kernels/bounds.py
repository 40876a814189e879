"""Statistics of a column from its values, where no footer has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from winnow.lake.kernels.canonical import is_null, stored_values, valid_bits
from winnow.lake.kernels.tables import ColumnStatistics, Family, Value
from winnow.numeric.compiled import compiled

_DAY = 86_400 * 10**9
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_BYTES = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
#: Types whose bounds a compiled loop finds, by their numbers: to hash a type means to
#: write it out.
_INTEGERS = {pa.int32().id: "i4", pa.int64().id: "i8"}
_FLOATS = {pa.float32().id: "f4", pa.float64().id: "f8"}
_TEXTS = {pa.string().id, pa.binary().id}
# Asked of NumPy in a compiled loop, Numba would load SciPy for it.
_LEAST, _GREATEST = np.int64(-(2**63)), np.int64(2**63 - 1)
_AS_STORED = {*_INTEGERS, *_FLOATS, *_TEXTS}
_INSTANTS = (Family.NAIVE, Family.ZONED, Family.TIME, Family.DURATION)


def statistics(array: pa.Array, family: Family) -> ColumnStatistics:
    """Return the exact statistics of an array's values; nested ones have no bounds."""
    rows, nulls = len(array), array.null_count
    kind = array.type
    if nulls == rows or pt.is_null(kind):
        return ColumnStatistics(rows=rows, nulls=rows)
    if kind.id in _AS_STORED:
        return _bounded(rows, nulls, *_least_and_greatest(array))
    if pt.is_dictionary(array.type):
        # What a dictionary holds need not occur.
        array = array.dictionary_decode()
        nulls = array.null_count
    if family == Family.NESTED:
        return ColumnStatistics(rows=rows, nulls=nulls, has_value=nulls < rows)
    low, high = _least_and_greatest(_ordered(array, family))
    if low is None or high is None:
        return ColumnStatistics(rows=rows, nulls=nulls)
    kind = array.type
    return _bounded(rows, nulls, _scaled(low, kind), _scaled(high, kind))


def _bounded(
    rows: int, nulls: int, low: Value | None, high: Value | None
) -> ColumnStatistics:
    # NaN is left out; where there is nothing else the bounds are in no order.
    if low is None or high is None or not low <= high:  # type: ignore[operator]
        return ColumnStatistics(rows=rows, nulls=nulls)
    return ColumnStatistics(rows, nulls, low, high, low, high, has_value=True)


def _least_and_greatest(array: pa.Array) -> tuple[Value | None, Value | None]:
    """Return the bounds of an array's values, of which one is there, without NaN."""
    number = array.type.id
    if number in _TEXTS:
        return _of_texts(array)
    if number in _INTEGERS:
        low, high = _integers(
            stored_values(array, _INTEGERS[number]), *valid_bits(array)
        )
        return int(low), int(high)
    if number in _FLOATS:
        values = stored_values(array, _FLOATS[number])
        low, high, negative_zero = _floats(values, *valid_bits(array))
        # Of two zeros, which one is the bound is Arrow's to say.
        if not (negative_zero and 0.0 in (low, high)):
            return float(low), float(high)
    least, greatest = pc.min_max(array).values()
    return _value(least), _value(greatest)


def _of_texts(array: pa.Array) -> tuple[bytes, bytes]:
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset :][: len(array) + 1]
    text = np.frombuffer(data if data is not None else b"", np.uint8)
    low, high = _texts(text, ends, *valid_bits(array))
    one, other = (text[ends[i] : ends[i + 1]].tobytes() for i in (low, high))
    return one, other


@compiled
def _integers(values: Any, bits: Any, first: Any) -> Any:
    low, high = _GREATEST, _LEAST
    if len(bits) == 0:  # a loop without a branch, for many numbers at a time
        for i in range(len(values)):
            low, high = min(low, values[i]), max(high, values[i])
        return low, high
    for i in range(len(values)):
        if not is_null(bits, first + i):
            low, high = min(low, values[i]), max(high, values[i])
    return low, high


@compiled
def _floats(values: Any, bits: Any, first: Any) -> Any:
    """Return the bounds, and whether a negative zero is among the values."""
    low, high, negative_zero = np.inf, -np.inf, False
    for i in range(len(values)):
        value = np.float64(values[i])
        if np.isnan(value) or is_null(bits, first + i):
            continue
        low, high = min(low, value), max(high, value)
        negative_zero |= value == 0 and np.signbit(value)
    return low, high, negative_zero


@compiled
def _texts(data: Any, ends: Any, bits: Any, first: Any) -> Any:
    """Return where the least and the greatest text stand, by their bytes."""
    low, high = -1, -1
    for i in range(len(ends) - 1):
        if is_null(bits, first + i):
            continue
        if low < 0:
            low, high = i, i
        elif _is_less(data, ends[i], ends[i + 1], ends[low], ends[low + 1]):
            low = i
        elif _is_less(data, ends[high], ends[high + 1], ends[i], ends[i + 1]):
            high = i
    return low, high


@compiled(inline="always")
def _is_less(data: Any, start: Any, end: Any, other: Any, other_end: Any) -> Any:
    """Whether the bytes from `start` to `end` come before those from `other` on."""
    while start < end and other < other_end and data[start] == data[other]:
        start, other = start + 1, other + 1
    if start == end or other == other_end:
        return end - start < other_end - other
    return data[start] < data[other]


def _ordered(array: pa.Array, family: Family) -> pa.Array:
    """Return an array that is ordered as the family's values are."""
    kind = array.type
    if family in (Family.TEXT, Family.BINARY) and kind not in _BYTES:
        return array.cast(pa.large_binary())
    if pt.is_float16(kind):
        return array.cast(pa.float64())
    if pt.is_date32(kind) or pt.is_time32(kind):
        return array.view(pa.int32())
    if pt.is_date64(kind) or family in _INSTANTS:
        return array.view(pa.int64())
    return array


def _value(scalar: pa.Scalar) -> Value | None:
    """Return a bound as it is compared; text by its bytes, valid UTF-8 or not."""
    value: Value | None
    if isinstance(scalar, pa.BinaryScalar):
        value = scalar.as_buffer().to_pybytes() if scalar.is_valid else None
    else:
        value = scalar.as_py()
    return value


def _scaled(value: Value, kind: pa.DataType) -> Value:
    """Turn ticks into nanoseconds."""
    if pt.is_date32(kind):
        return int(value) * _DAY
    if pt.is_date64(kind):
        return int(value) // 86_400_000 * _DAY
    if pt.is_temporal(kind):
        return int(value) * _NANOSECONDS[kind.unit]
    return value
