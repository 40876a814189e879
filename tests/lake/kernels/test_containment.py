"""Row sets compared with counters in plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.kernels.containment import NOWHERE, Index, RowSet, compare, row_set
from winnow.lake.kernels.murmur3 import Hashes

Hash = tuple[int, int]
# Few distinct halves: rows repeat, and different rows share their first half.
HALVES = st.sampled_from([0, 1, 2**40, 2**63, 2**64 - 1])
ROWS = st.lists(st.tuples(HALVES, HALVES), max_size=30)


def as_hashes(rows: list[Hash]) -> Hashes:
    pairs = np.array(rows, np.uint64).reshape(-1, 2)
    return Hashes(pairs[:, 0].copy(), pairs[:, 1].copy())


def as_set(rows: list[Hash], first: int = 0) -> RowSet:
    return row_set(as_hashes(rows), np.arange(first, first + len(rows)))


@settings(deadline=None)
@given(ROWS, st.integers(0, 30))
def test_distinct_rows_with_first_position_and_repeats(
    rows: list[Hash], cut: int
) -> None:
    parts = as_set(rows[cut:], first=len(rows[:cut])), as_set(rows[:cut])
    hi, lo, position, repeats = (np.concatenate(both) for both in zip(*parts))  # noqa: B905
    joined = row_set(Hashes(hi, lo), position, repeats)
    for comparison in (as_set(rows), joined):
        keys = list(zip(comparison.hi.tolist(), comparison.lo.tolist(), strict=True))
        assert keys == sorted(set(rows))
        assert comparison.position.tolist() == [rows.index(key) for key in keys]
        assert comparison.repeats.tolist() == [rows.count(key) for key in keys]


@settings(deadline=None)
@given(ROWS, ROWS)
def test_a_verdict_counts_what_the_parent_lacks(
    child: list[Hash], parent: list[Hash]
) -> None:
    comparison = compare(as_set(child), as_set(parent))
    missing, scarcer = set(child) - set(parent), Counter(child) - Counter(parent)
    assert (comparison.rows, comparison.distinct) == (len(child), len(set(child)))
    assert comparison.missing == len(missing)
    assert comparison.matched == (Counter(child) & Counter(parent)).total()
    assert comparison.first_missing == min(map(child.index, missing), default=NOWHERE)
    assert comparison.first_scarcer == min(map(child.index, scarcer), default=NOWHERE)


@settings(deadline=None)
@given(ROWS, ROWS)
def test_an_index_counts_the_rows_that_are_sought(
    sought: list[Hash], rows: list[Hash]
) -> None:
    wanted = as_set(sought)
    counts = np.zeros(len(wanted.hi), np.int64)
    index = Index(wanted)
    for part in (rows[:7], rows[7:]):
        index.count(as_hashes(part), counts)
    assert counts.tolist() == [rows.count(key) for key in sorted(set(sought))]
