"""Look-ups in sorted digests, against a scan of all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from winnow.algorithms.dedup.band_lookup import (
    pairs_in_band,
    sharing_rows,
    sorted_bands,
)

DIGESTS = st.tuples(st.integers(0, 20), st.integers(1, 4)).flatmap(
    lambda shape: hnp.arrays(
        np.uint64, shape, elements=st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])
    )
)


@settings(deadline=None)
@given(DIGESTS, st.lists(st.sampled_from([0, 1, 3, 2**64 - 1]), min_size=4, max_size=4))
def test_rows_that_share_a_band_and_how_many(digests: np.ndarray, wanted: list):
    query = np.array(wanted[: digests.shape[1]], np.uint64)
    rows, bands = sharing_rows(*sorted_bands(digests), query)
    shared = (digests == query).sum(axis=1)
    expected = np.flatnonzero(shared)
    assert rows.tolist() == expected.tolist()
    assert bands.tolist() == shared[expected].tolist()


@settings(deadline=None)
@given(DIGESTS, st.integers(1, 3))
def test_pairs_of_many_queries_in_one_band(digests: np.ndarray, most: int):
    ordered, order = sorted_bands(digests)
    queries = np.array([2**63, 7, 0, 0], np.uint64)
    query, row = pairs_in_band(ordered[0], order[0], queries, most)
    expected = [
        (i, r)
        for i, digest in enumerate(queries)
        for r in np.flatnonzero(digests[:, 0] == digest)[:most].tolist()
    ]
    assert list(zip(query.tolist(), row.tolist(), strict=True)) == expected
