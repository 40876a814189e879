"""Clusters of a verdict, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.dedup import banding
from winnow.algorithms.dedup.clusters import (
    DuplicateCluster,
    Removal,
    cluster_of,
    largest_clusters,
    source_removals,
)
from winnow.algorithms.dedup.verification import decide

# Rows 0 … 4 share most words with row 0; rows 5 and 6 are one text.
WORDS = [range(10), range(9), range(11), range(8), range(10), "xy", "xy", "z"]
SETS = [frozenset(words) for words in WORDS]


def similarity(left, right):
    pairs = zip(left.tolist(), right.tolist(), strict=True)
    return np.array([len(SETS[a] & SETS[b]) / len(SETS[a] | SETS[b]) for a, b in pairs])


def verdict(semantics="representatives"):
    buckets = banding.buckets(np.zeros((8, 1), dtype=np.uint64))
    return decide(buckets, 8, similarity, 0.8, semantics=semantics)


@pytest.mark.parametrize("semantics", ["representatives", "components"])
def test_largest_clusters_with_their_least_similar_pair(semantics):
    assert largest_clusters(verdict(semantics)) == [
        DuplicateCluster(0, 4, (3, 0), 0.8),
        DuplicateCluster(5, 1, (6, 5), 1.0),
    ]
    assert largest_clusters(verdict(semantics), 1)[0].keeper == 0
    assert cluster_of(verdict(semantics), 5) == DuplicateCluster(5, 1, (6, 5), 1.0)
    for row in (1, 7):
        with pytest.raises(ValueError, match=f"row {row}"):
            cluster_of(verdict(semantics), row)


def test_shares_that_clusters_take_of_sources():
    source = np.array([3, 3, 9, 9, 9, 4, 4, 4])
    assert source_removals(verdict().keeper, source) == [
        Removal(0, 9, 3, 1.0),
        Removal(0, 3, 1, 0.5),
        Removal(5, 4, 1, 1 / 3),
    ]
    assert source_removals(np.arange(8), source) == []


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=30))
def test_removals_add_up(rows):
    # Row i goes to its drawn keeper where that is an earlier, kept row.
    keeper = list(range(len(rows)))
    for i, (wanted, _) in enumerate(rows):
        if wanted < i and keeper[wanted] == wanted:
            keeper[i] = wanted
    keeper, source = np.array(keeper, dtype=np.int64), np.array([s for _, s in rows])
    removals = source_removals(keeper, source, count=1000)
    assert sum(r.removed for r in removals) == (keeper != np.arange(len(rows))).sum()
    for removal in removals:
        of_source = source == removal.source
        gone = of_source & (keeper == removal.keeper)
        gone &= np.arange(len(rows)) != removal.keeper
        assert removal.removed == gone.sum()
        assert removal.share == gone.sum() / of_source.sum()
    shares = [removal.share for removal in removals]
    assert shares == sorted(shares, reverse=True)
