"""Statistics of a column from its values, where no footer has them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from winnow.lake.kernels.tables import ColumnStatistics, Family, Value

_DAY = 86_400 * 10**9
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_INSTANTS = (Family.NAIVE, Family.ZONED, Family.TIME, Family.DURATION)


def statistics(array: pa.Array, family: Family) -> ColumnStatistics:
    """Return the exact statistics of an array's values; nested ones have no bounds."""
    rows, nulls = len(array), array.null_count
    if pt.is_null(array.type) or nulls == rows:
        return ColumnStatistics(rows=rows, nulls=rows)
    if pt.is_dictionary(array.type):
        # What a dictionary holds need not occur.
        array = array.dictionary_decode()
        nulls = array.null_count
    if family == Family.NESTED:
        return ColumnStatistics(rows=rows, nulls=nulls, has_value=nulls < rows)
    values = _ordered(array, family)
    bounds = pc.min_max(values).as_py()
    if bounds["min"] is None:
        return ColumnStatistics(rows=rows, nulls=nulls)
    low, high = (_value(bounds[side]) for side in ("min", "max"))
    return ColumnStatistics(
        rows=rows,
        nulls=nulls,
        low=_scaled(low, array.type),
        high=_scaled(high, array.type),
        low_certain=_scaled(low, array.type),
        high_certain=_scaled(high, array.type),
        has_value=True,
    )


def _ordered(array: pa.Array, family: Family) -> pa.Array:
    """Return an array that is ordered as the family's values are."""
    kind = array.type
    if family in (Family.TEXT, Family.BINARY):
        return array.cast(pa.large_binary())
    if pt.is_floating(kind):
        doubles = array.cast(pa.float64())
        return doubles.filter(pc.invert(pc.is_nan(doubles)))
    if pt.is_date32(kind) or pt.is_time32(kind):
        return array.view(pa.int32())
    if pt.is_date64(kind) or family in _INSTANTS:
        return array.view(pa.int64())
    return array


def _value(value: Any) -> Value:
    typed: Value = value
    return typed


def _scaled(value: Value, kind: pa.DataType) -> Value:
    """Turn ticks into nanoseconds."""
    if pt.is_date32(kind):
        return int(value) * _DAY
    if pt.is_date64(kind):
        return int(value) // 86_400_000 * _DAY
    if pt.is_temporal(kind):
        return int(value) * _NANOSECONDS[kind.unit]
    return value
