"""Removals: proven, towards kept rows, complete, and the same in any order."""

from __future__ import annotations

import itertools
import tracemalloc

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup import banding, minhash, verification
from winnow.algorithms.dedup.jaccard import jaccard, text_similarity
from winnow.algorithms.dedup.verification import NO_BAND, decide

from tests.examples import examples

SEMANTICS = ("representatives", "components")


def of_sets(sets):
    """Exact similarity in plain Python."""

    def similarity(left, right):
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        return np.array(
            [len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in pairs]
        )

    return similarity


def one_bucket(rows):
    """Everything collides with everything."""
    return banding.buckets(np.zeros((rows, 1), dtype=np.uint64))


def deduplicate(texts, threshold=0.8, ngram=5, shape=(16, 8), **options):
    digests = banding.band_digests(minhash.signatures(texts, ngram=ngram), *shape)
    similarity = text_similarity(texts, ngram=ngram)
    return decide(
        banding.buckets(digests), len(texts), similarity, threshold, **options
    )


def keepers_by_greedy(rows, proven):
    keeper = list(range(rows))
    for member, other in sorted(proven):
        if keeper[member] == member and keeper[other] == other:
            keeper[member] = other
    return keeper


SETS = st.lists(
    st.frozensets(st.integers(0, 12), min_size=1, max_size=8), min_size=1, max_size=14
)


@settings(max_examples=examples(30, 100), deadline=None)
@given(SETS, st.integers(1, 4), st.sampled_from([0.3, 0.5, 0.8]), st.integers(0, 99))
def test_every_removal_is_proven_against_a_kept_row(sets, bands, threshold, seed):
    rows = len(sets)
    random = np.random.default_rng(seed)
    digests = random.integers(0, 4, (rows, bands)).astype(np.uint64)
    verdict = decide(banding.buckets(digests), rows, of_sets(sets), threshold, rounds=3)
    exact = of_sets(sets)
    for row in range(rows):
        twin = int(verdict.keeper[row])
        if twin == row:
            assert np.isnan(verdict.jaccard[row])
            assert verdict.band[row] == NO_BAND
            continue
        assert twin < row
        assert verdict.keeper[twin] == twin
        assert verdict.jaccard[row] == exact(np.array([row]), np.array([twin]))[0]
        assert verdict.jaccard[row] >= threshold
        if (band := verdict.band[row]) != NO_BAND:
            assert digests[row, band] == digests[twin, band]
    pairs = verdict.pairs
    proven = pairs.jaccard >= threshold
    edges = zip(
        pairs.member[proven].tolist(), pairs.keeper[proven].tolist(), strict=True
    )
    assert verdict.keeper.tolist() == keepers_by_greedy(rows, edges)


@settings(max_examples=examples(25, 80), deadline=None)
@given(SETS, st.sampled_from([0.3, 0.5, 0.8]))
def test_with_rounds_to_spare_nothing_is_missed(sets, threshold):
    rows = len(sets)
    exact = of_sets(sets)
    pairs = np.array(list(itertools.combinations(range(rows), 2))).reshape(-1, 2)
    near = pairs[exact(pairs[:, 1], pairs[:, 0]) >= threshold] if len(pairs) else pairs
    greedy = keepers_by_greedy(rows, [(b, a) for a, b in near.tolist()])
    graph = nx.empty_graph(rows)
    graph.add_edges_from(near.tolist())
    smallest = {node: min(c) for c in nx.connected_components(graph) for node in c}
    for semantics, wanted in (
        ("representatives", greedy),
        ("components", [smallest[row] for row in range(rows)]),
    ):
        verdict = decide(
            one_bucket(rows),
            rows,
            exact,
            threshold,
            semantics=semantics,
            rounds=2 * rows,
        )
        assert verdict.keeper.tolist() == wanted, semantics


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_chain_loses_no_row_to_a_keeper_below_the_threshold(order):
    word = [f"w{i}" for i in range(60)]
    # 37 words each: neighbours share 34 of 40 (.85), the ends 31 of 43 (.72).
    chain = [word[:37], word[3:40], word[6:43]]
    texts = pa.array([" ".join(chain[i]) for i in order])
    sets = [frozenset(chain[i]) for i in order]
    verdict = deduplicate(texts, ngram=1, shape=(32, 4))
    everything = decide(one_bucket(3), 3, of_sets(sets), 0.8)
    np.testing.assert_array_equal(verdict.keeper, everything.keeper)
    kept = [row for row in range(3) if verdict.keeper[row] == row]
    # Without the middle first, both ends stay; with it first, both go to it.
    assert len(kept) == (1 if order[0] == 1 else 2)
    chained = decide(one_bucket(3), 3, of_sets(sets), 0.8, semantics="components")
    assert chained.keeper.tolist() == [0, 0, 0]


def test_texts_of_one_template_all_stay_with_edges_in_proportion():
    rng = np.random.default_rng(5)
    template = [f"t{i}" for i in range(40)]

    def corpus(rows):
        words = rng.integers(0, 10**9, (rows, 14))
        return pa.array(
            [" ".join([*template, *(f"v{x}" for x in row)]) for row in words]
        )

    compared = {}
    for rows in (50_000, 100_000):
        verdict = deduplicate(corpus(rows), ngram=1)
        assert (verdict.keeper == np.arange(rows)).all()
        compared[rows] = len(verdict.pairs.member)
    # The template does put thousands in one bucket: otherwise this shows nothing.
    assert compared[50_000] > 100_000
    assert compared[100_000] < 2.2 * compared[50_000]
    assert compared[100_000] <= 8 * 16 * 100_000


def test_twins_in_a_bucket_of_strangers_are_found():
    # The bucket's first rows are like nobody; the twins come last.
    sets = [frozenset(range(10 * i, 10 * i + 10)) for i in range(6)]
    sets += [sets[5] | {999}]
    assert decide(one_bucket(7), 7, of_sets(sets), 0.8).keeper[6] == 5
    # And the bound is a bound.
    assert decide(one_bucket(7), 7, of_sets(sets), 0.8, rounds=5).keeper[6] == 6


def test_a_row_whose_keeper_is_dropped_meets_the_keepers_keeper():
    # Band 0 holds (1, 2) and band 1 holds (0, 3, 1): 1 goes to 0 a round after 2 to 1.
    sets = [
        frozenset(range(20)),
        frozenset(range(1, 20)),
        frozenset(range(1, 20)),
        frozenset("x"),
    ]
    digests = np.array([[1, 0], [0, 0], [0, 1], [2, 0]], dtype=np.uint64)
    verdict = decide(banding.buckets(digests), 4, of_sets(sets), 0.8)
    assert verdict.keeper.tolist() == [0, 0, 0, 3]
    assert verdict.band.tolist() == [NO_BAND, 1, NO_BAND, NO_BAND]
    assert verdict.jaccard[2] == 0.95


@settings(max_examples=examples(20, 60), deadline=None)
@given(SETS, st.sampled_from(SEMANTICS))
def test_a_raised_threshold_reuses_pairs_and_decides_as_if_fresh(sets, semantics):
    rows = len(sets)
    buckets, exact = one_bucket(rows), of_sets(sets)
    first = decide(buckets, rows, exact, 0.3, semantics=semantics)
    asked = set()

    def counting(left, right):
        asked.update(zip(left.tolist(), right.tolist(), strict=True))
        return exact(left, right)

    known = first.pairs
    again = decide(buckets, rows, counting, 0.7, semantics=semantics, known=known)
    fresh = decide(buckets, rows, exact, 0.7, semantics=semantics)
    for one, other in zip(again[:3], fresh[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    have = set(zip(known.member.tolist(), known.keeper.tolist(), strict=True))
    assert not asked & have


@settings(max_examples=examples(30, 100), deadline=None)
@given(SETS, st.integers(1, 3))
def test_exact_similarity_equals_sets(sets, threads):
    sets = [*sets, frozenset(), frozenset({0, 2**64 - 1})]
    bounds = np.cumsum([0, *map(len, sets)])
    flat = [h for s in sets for h in s]
    hashes = np.array(flat, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    left, right = np.array(list(itertools.product(range(len(sets)), repeat=2))).T
    similarity = jaccard(
        bounds, hashes, left.astype(np.uint32), right.astype(np.uint32)
    )
    for a, b, value in zip(left, right, similarity, strict=True):
        union = len(sets[a] | sets[b])
        assert value == (len(sets[a] & sets[b]) / union if union else 1.0)


def test_similarity_of_texts_in_chunks():
    texts = [f"{i % 4} a b {'c d e' * (i % 3)}" for i in range(40)]
    column = pa.array(texts)
    chunks = pa.chunked_array([column[:3], column[3:3], column[3:30], column[30:]])
    left, right = np.array(list(itertools.permutations(range(40), 2)), np.uint32).T
    sets = [frozenset(text.split()) for text in texts]
    wanted = of_sets(sets)(left, right)
    for rows, threads in ((column, 1), (chunks, 1), (chunks, 3)):
        similarity = text_similarity(rows, ngram=1, threads=threads)
        np.testing.assert_array_equal(similarity(left, right), wanted)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="unknown semantics"):
        decide(one_bucket(2), 2, of_sets([]), 0.8, semantics="clusters")
    with pytest.raises(ValueError, match="threshold"):
        decide(one_bucket(2), 2, of_sets([]), 0.0)


@pytest.fixture(scope="module")
def real(shared):
    table = pq.read_table(shared / "data/texts", columns=["uid", "text"])
    return table.sort_by("uid").combine_chunks()


@pytest.fixture(scope="module")
def truth(real):
    """All pairs (member, keeper) of J ≥ .8, by multiplying the incidence matrix."""
    bounds, hashes = minhash.shingle_sets(real["text"])
    _, columns = np.unique(hashes, return_inverse=True)
    ones = np.ones(len(hashes), dtype=np.int32)
    matrix = scipy.sparse.csr_array((ones, columns, bounds))
    shared = scipy.sparse.tril(matrix @ matrix.T, k=-1).tocoo()
    sizes = np.diff(bounds)
    union = sizes[shared.row] + sizes[shared.col] - shared.data
    near = shared.data / union
    return {
        (int(a), int(b)): j
        for a, b, j in zip(shared.row, shared.col, near, strict=True)
        if j >= 0.8
    }


@pytest.mark.shared
def test_real_texts_against_brute_force(real, truth):
    rows = len(real)
    verdict = deduplicate(real["text"])
    dropped = np.flatnonzero(verdict.keeper != np.arange(rows))
    for row in dropped:
        assert verdict.jaccard[row] == truth[row, int(verdict.keeper[row])]
    greedy = np.array(keepers_by_greedy(rows, truth))
    should = np.flatnonzero(greedy != np.arange(rows))
    assert len(should) > 2000
    assert len(np.intersect1d(dropped, should)) / len(should) >= 0.96
    gone = set(dropped.tolist())
    met = [a in gone or b in gone for a, b in truth]
    assert np.mean(met) >= 0.96


@pytest.mark.shared
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_real_clusters_are_the_same_for_any_partition_and_order(real, semantics):
    rows = len(real)
    wanted = deduplicate(real["text"], semantics=semantics)
    assert (wanted.keeper != np.arange(rows)).sum() > 2000
    rng = np.random.default_rng(1)
    for partitions in (1, 7, 200):
        shuffled = real.take(pa.array(rng.permutation(rows)))
        pieces = np.array_split(np.arange(rows), partitions)
        digests = np.concatenate(
            [
                banding.band_digests(
                    minhash.signatures(shuffled["text"].take(p)), 16, 8
                )
                for p in map(pa.array, pieces)
            ]
        )
        rank = np.argsort(shuffled["uid"].to_numpy())
        buckets = banding.buckets(digests[rank], threads=2)
        similarity = text_similarity(shuffled["text"].take(pa.array(rank)), threads=2)
        removals = decide(buckets, rows, similarity, 0.8, semantics=semantics)
        for one, other in zip(removals[:3], wanted[:3], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.shared
def test_real_clusters_equal_networkx_on_the_proven_pairs(real):
    verdict = deduplicate(real["text"], semantics="components")
    pairs = verdict.pairs
    proven = pairs.jaccard >= 0.8
    graph = nx.empty_graph(len(real))
    graph.add_edges_from(zip(pairs.member[proven], pairs.keeper[proven], strict=True))
    for members in nx.connected_components(graph):
        assert set(verdict.keeper[list(members)].tolist()) == {min(members)}


@pytest.mark.shared
def test_a_thousand_stars_of_one_name_have_one_keeper(shared):
    table = pq.read_table(shared / "data/clipart", columns=["uid", "text"])
    table = table.sort_by("uid").combine_chunks()
    verdict = deduplicate(table["text"])
    named = np.flatnonzero(np.array(table["text"].to_pylist()) == "gramastar")
    assert len(named) == 1375
    assert set(verdict.keeper[named].tolist()) == {int(named[0])}
    assert (verdict.jaccard[named[1:]] == 1).all()
    # One round settles a bucket of equals: a star, not a clique.
    assert len(verdict.pairs.member) < 5 * len(table)


def test_empty_texts_are_nobodys_duplicates():
    texts = pa.array(["", None, " ", "a b", "a b"])
    signatures = minhash.signatures(texts)
    digests = banding.band_digests(signatures, 16, 8)
    present = ~minhash.is_empty(signatures)
    assert present.tolist() == [False, False, False, True, True]
    verdict = decide(banding.buckets(digests, present), 5, text_similarity(texts), 0.8)
    assert verdict.keeper.tolist() == [0, 1, 2, 3, 3]


def test_pairs_are_reported_once_in_order():
    sets = [frozenset({i % 3}) for i in range(9)]
    pairs = decide(one_bucket(9), 9, of_sets(sets), 0.5).pairs
    keys = list(zip(pairs.member.tolist(), pairs.keeper.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert all(b < a for a, b in keys)
    assert verification.NO_PAIRS.member.dtype == pairs.member.dtype


def test_little_is_held_of_each_row_while_pairs_are_compared():
    """No key, order or copy of a pair is left from what proposed it."""
    rows, before, held = 200_000, 0, []
    pairs = banding.buckets(
        np.repeat(np.arange(rows // 2, dtype=np.uint64), 2)[:, None]
    )

    def similarity(left, right):
        held.append(tracemalloc.get_traced_memory()[0] - before)
        return np.ones(len(left))

    decide(pairs, rows, similarity, 0.8)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        verdict = decide(pairs, rows, similarity, 0.8)
    finally:
        tracemalloc.stop()
    assert verdict.keeper.tolist() == [row - row % 2 for row in range(rows)]
    # Who it stands for, its bucket and whether it was a centre there; of each pair of
    # rows both, and a band.
    assert held[-1] / rows < 4 + 4 + 1 + (4 + 4 + 2) / 2 + 2
