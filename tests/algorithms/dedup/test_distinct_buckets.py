"""Buckets of the same rows once: against a dictionary, and in the verdict on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup.banding import Buckets, buckets
from winnow.algorithms.dedup.distinct_buckets import DistinctBuckets
from winnow.algorithms.dedup.verification import decide

from tests.examples import examples

ROWS = 9
BANDS = st.lists(
    st.lists(st.sets(st.integers(0, ROWS - 1), min_size=2), max_size=12), max_size=8
)


def of_band(band: int, sets: list[set[int]]) -> Buckets:
    members = [sorted(rows) for rows in sets]
    return Buckets(
        np.cumsum([0, *map(len, members)]).astype(np.int64),
        np.array([row for rows in members for row in rows], np.uint32),
        np.full(len(sets), band, np.int16),
    )


def listed(these: Buckets) -> list[tuple[int, tuple[int, ...]]]:
    sets = np.split(these.members, these.bounds[1:-1]) if len(these.band) else []
    return [(b, tuple(s.tolist())) for b, s in zip(these.band, sets, strict=True)]


@given(BANDS)
@settings(max_examples=examples(60, 300))
def test_of_equal_buckets_the_first_stays(bands: list[list[set[int]]]):
    distinct = DistinctBuckets()
    wanted: dict[tuple[int, ...], int] = {}
    for band, sets in enumerate(bands):
        distinct.add(of_band(band, sets))
        for rows in sets:
            wanted.setdefault(tuple(sorted(rows)), band)
        assert distinct.memberships == sum(map(len, wanted))
    assert listed(distinct.buckets()) == [(b, rows) for rows, b in wanted.items()]


@pytest.mark.parametrize("semantics", ["representatives", "components"])
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.3, 0.6, 0.9]))
@settings(max_examples=examples(30, 200), deadline=None)
def test_the_verdict_is_that_on_all_buckets(
    semantics: Any, seed: int, threshold: float
):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(2, 60))
    # Half of the bands say the same of most rows.
    digests = rng.integers(0, max(2, rows // 3), (rows, 3)).astype(np.uint64)
    again = np.where(rng.random((rows, 3)) < 0.9, digests, digests + np.uint64(1))
    every = buckets(np.concatenate([digests, again], axis=1))
    alike = rng.random((rows, rows))

    def similarity(left: Any, right: Any) -> Any:
        return alike[np.minimum(left, right), np.maximum(left, right)]

    distinct = DistinctBuckets()
    distinct.add(every)
    fewer = distinct.buckets()
    verdicts = [
        decide(b, rows, similarity, threshold, semantics=semantics, rounds=3)
        for b in (every, fewer)
    ]
    for one, other in zip(verdicts[0][:3], verdicts[1][:3], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(verdicts[0].pairs, verdicts[1].pairs, strict=True):
        np.testing.assert_array_equal(one, other)
