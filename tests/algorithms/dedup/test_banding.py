"""Bands, keys and buckets against datasketch's MinHashLSH and plain dictionaries."""

from __future__ import annotations

import itertools
from collections import defaultdict

import datasketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from winnow.algorithms.dedup import banding, minhash

from tests.examples import examples


def groups(found: banding.Buckets) -> set[tuple[int, tuple[int, ...]]]:
    ends = itertools.pairwise(found.bounds)
    pieces = [tuple(found.members[first:last].tolist()) for first, last in ends]
    return set(zip(found.band.tolist(), pieces, strict=True))


def test_golden_shapes(golden):
    cases = [key for key in golden if key.startswith("params_") and key[-2:] != "_s"]
    assert len(cases) >= 10
    for case in cases:
        _, threshold, num_perm, *weights = case.split("_")
        weights = (0.1, 0.9) if weights else (0.5, 0.5)
        shape = banding.optimal_bands(float(threshold), int(num_perm), weights)
        assert list(shape) == golden[case], case


@pytest.mark.parametrize("threshold", [0.3, 0.62, 0.8, 0.95])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.25, 0.75)])
def test_shapes_equal_datasketch(threshold, weights):
    theirs = datasketch.MinHashLSH(threshold, num_perm=64, weights=weights)
    assert banding.optimal_bands(threshold, 64, weights) == (theirs.b, theirs.r)


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="one band"):
        banding.optimal_bands(0.99, 2)
    with pytest.raises(ValueError, match="sum to 1"):
        banding.optimal_bands(0.8, 128, (0.5, 0.6))
    with pytest.raises(ValueError, match="threshold"):
        banding.optimal_bands(1.2, 128)
    with pytest.raises(ValueError, match="recall"):
        banding.bands_for_recall(0.01, 16, 0.99)
    with pytest.raises(ValueError, match="do not fit"):
        banding.band_digests(np.zeros((1, 128), np.uint32), 17, 8)


def test_longest_bands_of_a_recall():
    assert banding.bands_for_recall(0.8, 128) == (16, 8)
    for recall in (0.5, 0.9, 0.99):
        bands, rows = banding.bands_for_recall(0.7, 256, recall)
        assert banding.collision_probability(0.7, bands, rows) >= recall
        longer = 256 // (rows + 1), rows + 1
        assert banding.collision_probability(0.7, *longer) < recall


@pytest.mark.parametrize("scheme", ["affine32", "legacy"])
def test_golden_key(golden, scheme):
    signature = minhash.signatures(["the quick brown fox"], ngram=1, scheme=scheme)[0]
    key = golden[f"bandkey0_{scheme}_hex"]
    rows = len(bytes.fromhex(key)) // signature.dtype.itemsize
    assert banding.band_key(signature, 0, rows).hex() == key


@pytest.mark.parametrize("scheme", ["affine32", "legacy", "affine64"])
def test_same_keys_and_same_buckets_as_datasketch(scheme):
    rng = np.random.default_rng(3)
    base = rng.integers(0, 1000, 40)
    edited = [np.where(rng.random(40) < i % 7 / 20, -i, base) for i in range(60)]
    texts = [" ".join(f"w{word}" for word in row) for row in edited]
    ours = minhash.signatures(texts, ngram=1, scheme=scheme)
    lsh = datasketch.MinHashLSH(0.8, num_perm=128, params=(16, 8))
    for i, sketch in enumerate(minhash.to_datasketch(ours, scheme=scheme)):
        lsh.insert(i, sketch)
    wanted = set()
    for band, table in enumerate(lsh.hashtables):
        keys = {banding.band_key(signature, band, 8) for signature in ours}
        assert keys == set(table.keys())
        members = (tuple(sorted(table.get(key))) for key in keys)
        wanted |= {(band, rows) for rows in members if len(rows) > 1}
    assert len(wanted) > 20
    assert groups(banding.buckets(banding.band_digests(ours, 16, 8))) == wanted


@settings(max_examples=examples(60, 200), deadline=None)
@given(
    arrays.arrays(
        np.uint64,
        st.tuples(st.integers(0, 40), st.integers(1, 3)),
        # Neighbouring values agree in the bits that are sorted by.
        elements=st.sampled_from([*range(6), 2**63, 2**63 + 1, 2**64 - 1]),
    ),
    st.randoms(use_true_random=False),
)
def test_buckets_are_the_rows_of_equal_digests(digests, random):
    present = np.array([random.random() < 0.8 for _ in digests], dtype=bool)
    wanted = set()
    for band in range(digests.shape[1]):
        by_digest = defaultdict(list)
        for row in np.flatnonzero(present):
            by_digest[digests[row, band]].append(int(row))
        wanted |= {(band, tuple(r)) for r in by_digest.values() if len(r) > 1}
    bucketed = banding.buckets(digests, present, threads=2)
    assert groups(bucketed) == wanted
    assert len(bucketed.band) == len(wanted)
    edges = banding.star_edges(bucketed)
    stars = {(row, rows[0]) for _, rows in wanted for row in rows[1:]}
    pairs = list(zip(edges.member.tolist(), edges.keeper.tolist(), strict=True))
    assert pairs == sorted(stars)
    for pair, band in zip(pairs, edges.band, strict=True):
        assert band == min(
            b for b, r in wanted if pair == (pair[0], r[0]) and pair[0] in r
        )


def test_values_of_one_band_have_other_digests_in_another():
    digests = banding.band_digests(np.full((1, 128), 7, dtype=np.uint32), 16, 8)
    assert len(np.unique(digests)) == 16
