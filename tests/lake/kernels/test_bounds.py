"""Statistics of values against Python's own ordering."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from winnow.lake.kernels.bounds import statistics
from winnow.lake.kernels.families import family
from winnow.lake.kernels.tables import ColumnStatistics

from tests.examples import examples


def of(array: pa.Array) -> ColumnStatistics:
    bounds = statistics(array, family(array.type))
    assert (bounds.low, bounds.high) == (bounds.low_certain, bounds.high_certain)
    assert bounds.has_value == (bounds.low is not None)
    return bounds


NANOSECOND = 10**9
DAY = 86_400 * NANOSECOND


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        (pa.array([3, None, -2], pa.int8()), -2, 3),
        (pa.array([2**64 - 1, 1], pa.uint64()), 1, 2**64 - 1),
        (pa.array([math.nan, 1.5, None]), 1.5, 1.5),
        (pa.array(np.array([0.5, np.nan, -1], np.float16)), -1.0, 0.5),
        (pa.array([Decimal("1.10"), Decimal("-3")]), Decimal("-3"), Decimal("1.10")),
        (pa.array(["10", "9", "é", None]), b"10", "é".encode()),
        (pa.array(["b", "a"]).dictionary_encode().take([0, 0]), b"b", b"b"),
        (pa.array([b"\xff", b"\x00"], pa.binary(1)), b"\x00", b"\xff"),
        (pa.array(["b", "a"], pa.string_view()), b"a", b"b"),
        (pa.array([True, None]), True, True),
        (pa.array([date(1970, 1, 3), date(1969, 12, 31)]), -DAY, 2 * DAY),
        (pa.array([DAY // 10**6], pa.date64()), DAY, DAY),
        (pa.array([datetime(1970, 1, 2)], pa.timestamp("s")), DAY, DAY),
        # Far outside of what int64 nanoseconds hold.
        (pa.array([2**40], pa.timestamp("s", "UTC")), 2**40 * 10**9, 2**40 * 10**9),
        (pa.array([time(0, 0, 1)], pa.time32("ms")), NANOSECOND, NANOSECOND),
        (pa.array([timedelta(microseconds=-1)], pa.duration("us")), -1000, -1000),
    ],
)
def test_bounds_are_the_values_in_the_family_order(
    array: pa.Array, low: Any, high: Any
) -> None:
    bounds = of(array)
    assert (bounds.low, bounds.high) == (low, high)
    assert (bounds.rows, bounds.nulls) == (len(array), array.null_count)
    assert type(bounds.low) is type(low)


@pytest.mark.parametrize(
    "array",
    [pa.nulls(3), pa.array([None], pa.int32()), pa.array([], pa.string())],
)
def test_without_a_value_there_are_no_bounds(array: pa.Array) -> None:
    bounds = of(array)
    assert bounds.vacant
    assert not bounds.has_value


def test_nan_alone_is_no_value_but_not_null() -> None:
    bounds = of(pa.array([math.nan]))
    assert (bounds.nulls, bounds.low, bounds.has_value) == (0, None, False)


def test_nested_values_have_no_bounds() -> None:
    lists = pa.array([[1], None])
    bounds = statistics(lists, family(lists.type))
    assert (bounds.nulls, bounds.low, bounds.has_value) == (1, None, True)


@settings(max_examples=examples(30, 100))
@given(st.lists(st.none() | st.floats(allow_nan=True)), st.integers(0, 9))
@example([None, None, None, 0.0, math.nan], 4)
def test_parts_merge_into_the_whole(values: list[float | None], cut: int) -> None:
    array = pa.array(values, pa.float64())
    parts, whole = [of(array.slice(0, cut)), of(array.slice(cut))], of(array)
    if any(not part.has_value and not part.vacant for part in parts):
        # NaN alone: such a part's bounds are unknown, and so are those of both.
        whole = replace(whole, low=None, high=None)
    assert parts[0].merged(parts[1]) == whole


INTEGERS = st.integers(-(2**31), 2**31 - 1)
DOUBLES = st.floats(allow_nan=True) | st.sampled_from([0.0, -0.0, math.inf])
KINDS = st.sampled_from(
    [
        (pa.int32(), INTEGERS),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.float32(), st.floats(width=32) | st.sampled_from([0.0, -0.0])),
        (pa.float64(), DOUBLES),
        (pa.string(), st.text("ab\0é", max_size=3)),
        (pa.binary(), st.binary(max_size=3)),
    ]
)


@settings(max_examples=examples(150, 1500))
@given(st.data(), KINDS, st.integers(0, 9), st.integers(0, 9))
def test_bounds_of_common_types_are_those_that_arrow_finds(
    data: st.DataObject, kind: tuple[pa.DataType, Any], first: int, last: int
) -> None:
    values = data.draw(st.lists(st.none() | kind[1], max_size=20))
    array = pa.array(values, kind[0]).slice(first)
    array = array.slice(0, max(0, len(array) - last))
    bounds = of(array)
    low, high = (one.as_py() for one in pc.min_max(array).values())
    if low is None or not low <= high:  # nothing but null and NaN
        assert (bounds.low, bounds.high) == (None, None)
        return
    if isinstance(low, str):
        low, high = low.encode(), high.encode()
    # Zeros, too, are told apart by their words.
    assert (repr(bounds.low), repr(bounds.high)) == (repr(low), repr(high))
