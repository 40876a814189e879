"""Pruning by bounds: what is true is never refuted, and what is certain is."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.kernels.min_max import in_words, refute, refute_edge, refuting_keys
from winnow.lake.kernels.schema_graph import SchemaEdges
from winnow.lake.kernels.tables import ColumnStatistics, Family

from tests.examples import examples

NUMBERS = [-math.inf, -1, -0.0, 0, 0.5, Decimal("0.5"), 1, 2**53, 2**53 + 1, 2**64 - 1]
VALUES = st.sampled_from([None, math.nan, *NUMBERS])


def present(values: list) -> list:
    return [v for v in values if v is not None and not is_nan(v)]


def is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


@st.composite
def true_of(draw: st.DrawFn, values: list) -> ColumnStatistics:
    """Statistics that are true of the values and tell more or less of them."""
    known = present(values)
    nulls = draw(st.sampled_from([None, values.count(None)]))
    if not known:
        return ColumnStatistics(len(values), nulls)
    low = draw(st.sampled_from([None, min(known), -math.inf, *known]))
    high = draw(st.sampled_from([None, max(known), math.inf, *known]))
    return ColumnStatistics(
        len(values),
        nulls,
        low if low is None or low <= min(known) else min(known),
        high if high is None or high >= max(known) else max(known),
        draw(st.sampled_from([None, *known])),
        draw(st.sampled_from([None, *known])),
        has_value=draw(st.booleans()),
    )


def contained(child: list, parent: list, bag: bool) -> bool:
    def count(values: list, value: object) -> int:
        return sum(v == value or (is_nan(v) and is_nan(value)) for v in values)

    return all(
        (count(child, v) <= count(parent, v)) if bag else count(parent, v)
        for v in child
    )


@settings(max_examples=examples(30, 100))
@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=6), st.data())
def test_what_is_refuted_is_not_contained(child: list, parent: list, data):
    one, other = data.draw(true_of(child)), data.draw(true_of(parent))
    for bag in (False, True):
        refutation = refute(one, other, Family.NUMBER, bag)
        if refutation is None:
            continue
        assert not contained(child, parent, bag)
        if refutation.witness is not None:
            assert contained([refutation.witness], child, bag=False)
            assert not contained([refutation.witness], parent, bag=False)


@given(st.lists(VALUES, max_size=6), st.data())
def test_what_is_contained_is_never_refuted(parent: list, data):
    subset = [v for v in parent if data.draw(st.booleans())]
    one, other = data.draw(true_of(subset)), data.draw(true_of(parent))
    for bag in (False, True):
        assert refute(one, other, Family.NUMBER, bag) is None


@settings(max_examples=examples(30, 100))
@given(
    st.lists(
        st.lists(st.lists(VALUES, max_size=3), min_size=2, max_size=2), max_size=4
    ),
    st.booleans(),
    st.data(),
)
def test_all_edges_at_once_get_the_verdicts_of_one_at_a_time(tables, bag, data):
    statistics = [
        {key: data.draw(true_of(values)) for key, values in zip("ab", t, strict=True)}
        for t in tables
    ]
    pairs = [(a, b) for a in range(len(tables)) for b in range(len(tables)) if a != b]
    child, parent = np.array(pairs, np.int64).reshape(-1, 2).T
    edges = SchemaEdges(child, parent, np.full(len(pairs), -1), ("a", "b"))
    families = {"a": Family.NUMBER, "b": Family.NUMBER}
    expected = [
        refute_edge(statistics[a], statistics[b], families, bag) for a, b in pairs
    ]
    refutation = refuting_keys(edges, statistics, bag).tolist()
    assert [edges.keys[i] if i >= 0 else None for i in refutation] == [
        None if verdict is None else verdict[0] for verdict in expected
    ]


KNOWN = ColumnStatistics(4, 0, 10, 20, 10, 20, has_value=True)


@pytest.mark.parametrize(
    ("child", "witness"),
    [
        (ColumnStatistics(1, low_certain=9), 9),
        (ColumnStatistics(1, high_certain=21), 21),
        (ColumnStatistics(1, low_certain=20.5), 20.5),
        # Bounds that are no values: only a gap refutes, and names no value.
        (ColumnStatistics(1, 0, low=21, has_value=True), None),
        (ColumnStatistics(1, 0, high=9, has_value=True), None),
        (ColumnStatistics(2, 1), None),
    ],
)
def test_what_is_certain_refutes_and_shows_its_witness(child, witness):
    refutation = refute(child, KNOWN, Family.NUMBER)
    assert refutation is not None
    assert refutation.witness == witness
    assert refutation.null == (child.nulls == 1)


@pytest.mark.parametrize(
    "child",
    [
        # Below the parent's bounds as a whole, yet perhaps all nulls or NaN.
        ColumnStatistics(3, low=1, high=5),
        ColumnStatistics(3, low=1, high=15, has_value=True),
        ColumnStatistics(3, nulls=None),
        ColumnStatistics(0, nulls=0),
    ],
)
def test_what_is_unknown_stays(child):
    assert refute(child, KNOWN, Family.NUMBER) is None


def test_rows_count_in_bag_semantics_only():
    child = ColumnStatistics(5, 0, 10, 20, 10, 20, has_value=True)
    assert refute(child, KNOWN, Family.NUMBER) is None
    assert refute(child, KNOWN, Family.NUMBER, bag=True) is not None


def test_a_reason_says_the_value_as_a_person_would():
    day = 86_400 * 10**9
    assert in_words(19_000 * day, Family.DATE) == "2022-01-08"
    assert in_words(1_001, Family.NAIVE) == "1970-01-01 00:00:00.000001+1ns"
    assert in_words(10**30, Family.ZONED) == f"{10**30} ns since 1970"
    assert in_words(b"\xff" + b"x" * 99, Family.TEXT) == f"'\ufffd{'x' * 39}…'"
    assert in_words(b"\x00\xff", Family.BINARY) == "'00ff'"
