"""Conditions and row positions against Python's own lists."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.row_selection import ChildRows, Condition, Matches, condition

from tests.examples import examples


def hashes(rows: list[int]) -> Hashes:
    """Few first halves, so that rows share them and differ in the second half."""
    numbers = np.array(rows, np.uint64)
    return Hashes(numbers % np.uint64(3), numbers)


def matches(child: list[int], parent: list[int]) -> Matches:
    rows = ChildRows(hashes(child))
    numbers = rows.numbers_of(hashes(parent))
    positions = np.flatnonzero(numbers >= 0)
    return Matches(rows.numbers, positions, numbers[positions], len(parent))


few = st.lists(st.integers(0, 9), max_size=12)


@given(few, few)
def test_rows_are_found_by_both_halves_of_their_hash(child, parent):
    matched = matches(child, parent)
    expected = [i for i, row in enumerate(parent) if row in child]
    assert matched.positions.tolist() == expected
    names = dict(zip(matched.child.tolist(), child, strict=True))
    assert [names[n] for n in matched.numbers] == [parent[i] for i in expected]


@given(few, few)
def test_every_row_of_the_child_gets_an_equal_row_of_the_parent(child, parent):
    matched = matches(child, parent)
    if set(child) - set(parent):
        with pytest.raises(ValueError, match="lacks"):
            matched.sources()
        return
    sources = matched.sources().tolist()
    assert [parent[i] for i in sources] == child
    if all(child.count(row) <= parent.count(row) for row in child):
        assert len(set(sources)) == len(sources)


@given(few, few, few)
def test_a_run_of_rows_is_found(before, child, after):
    parent = before + child + after
    block = matches(child, parent).block()
    assert (block is None) == (not child)
    if block:
        assert parent[slice(*block)] == child


@given(few, few)
def test_what_is_no_run_is_not_taken_for_one(child, parent):
    block = matches(child, parent).block()
    runs = [parent[i : i + len(child)] for i in range(len(parent))]
    assert (block is not None) == (bool(child) and child in runs)


def holds(rule: Condition, value: object) -> bool:
    """What SQL takes the condition for."""
    if rule.bounds:
        low, high = (bound.as_py() for bound in rule.bounds)
        return value is not None and not isnan(value) and low <= value <= high
    if rule.values:
        return value in [v.as_py() for v in rule.values]
    return value is None


def isnan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


columns = st.sampled_from(
    [
        (pa.int8(), st.integers(-3, 3)),
        (pa.float64(), st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf, -2.0])),
        (pa.string(), st.sampled_from(["", "a", "b", "é", "a'b"])),
        (pa.bool_(), st.booleans()),
        (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b"])),
    ]
)


@settings(max_examples=examples(80, 300))
@given(st.data(), columns)
def test_a_condition_chooses_the_child_and_nothing_else(data, column):
    kind, values = column
    rows = data.draw(st.lists(st.tuples(st.integers(0, 5), st.none() | values)))
    chosen = {value for _, value in rows if data.draw(st.booleans())}
    child = [row for row, value in rows if value in chosen]
    parent = [row for row, _ in rows]
    rule = condition(
        pa.array([value for _, value in rows], kind), matches(child, parent)
    )
    if rule is not None and child:
        assert [row for row, value in rows if holds(rule, value)] == child
    plain = not any(isinstance(v, float) and not math.isfinite(v) for v in chosen)
    if child and len(chosen) == 1 and plain and len(set(parent)) == len(parent):
        assert rule is not None


def test_the_simplest_condition_is_an_equality_then_null_range_list():
    one = Condition(values=(pa.scalar(1),))
    several = Condition(values=(pa.scalar(1), pa.scalar(3)))
    between = Condition(bounds=(pa.scalar(1), pa.scalar(9)))
    rules = [several, between, Condition(), one]
    assert sorted(rules, key=lambda rule: rule.length) == [
        *(Condition(), one),
        between,
        several,
    ]


def test_rows_that_only_look_alike_do_not_hide_the_condition():
    # The child is the year 2: its rows occur by chance in other years, too.
    years = [1, 1, 2, 2, 3]
    parent = [7, 5, 7, 8, 9]
    rule = condition(pa.array(years), matches([7, 8], parent))
    assert rule == Condition(values=(pa.scalar(2),))
