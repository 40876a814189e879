"""The order of keepers: strings that sort as the values do, on every engine."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.config.keeper import OrderKey, order_key
from winnow.steps.keeper import kept_uid, sortable

VALUES = {
    "floats": (st.floats(), pa.float64()),
    "wholes": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "unsigned": (st.integers(0, 2**64 - 1), pa.uint64()),
    "texts": (st.text(), pa.string()),
    "truths": (st.booleans(), pa.bool_()),
    "dates": (st.dates(), pa.date32()),
    "times": (
        st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
        pa.timestamp("us"),
    ),
}


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("descending", [False, True])
@given(data=st.data())
def test_strings_sort_as_their_values(kind: str, descending: bool, data: Any):
    strategy, arrow = VALUES[kind]
    values = data.draw(st.lists(st.none() | strategy, max_size=12))
    texts = sortable(pa.array(values, arrow, from_pandas=False), descending=descending)
    there = [v for v in values if not missing(v)]
    key = (lambda v: v.encode()) if kind == "texts" else (lambda v: v)
    expected = sorted(there, key=key, reverse=descending)
    order = sorted(range(len(values)), key=lambda row: texts[row].encode())
    ordered = [values[row] for row in order]
    assert [v for v in ordered if not missing(v)] == expected
    assert all(missing(v) for v in ordered[len(there) :])


def test_the_uid_is_read_off_the_end():
    texts = pa.array(["0ff a uid with spaces", "1 x"])
    assert kept_uid(texts, 1).to_pylist() == ["a uid with spaces", "x"]
    assert kept_uid(texts, 0).to_pylist() == texts.to_pylist()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("pixels desc", OrderKey("pixels", True)),
        ("my column asc", OrderKey("my column", False)),
        ("stars", OrderKey("stars", False)),
        ("desc", OrderKey("desc", False)),
    ],
)
def test_a_key_is_read(text: str, key: OrderKey):
    assert order_key(text) == key
