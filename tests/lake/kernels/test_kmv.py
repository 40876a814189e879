"""Bottom-k sketches against sets and counters in plain Python."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.kernels.kmv import (
    Builders,
    Kmv,
    Runs,
    compare,
    merged,
    one_of,
    stacked,
)
from winnow.lake.kernels.murmur3 import Hashes

from tests.examples import examples

K = 4
Hash = tuple[int, int]
# Few distinct halves, so that hashes repeat and share their first half.
HALVES = st.integers(0, 6).map(
    lambda i: [0, 1, 2, 2**40, 2**63, 2**64 - 2, 2**64 - 1][i]
)
VALUES = st.lists(st.tuples(HALVES, HALVES), max_size=60)


def as_hashes(values: list[Hash]) -> Hashes:
    pairs = np.array(values, np.uint64).reshape(-1, 2)
    return Hashes(pairs[:, 0].copy(), pairs[:, 1].copy())


def sketch(values: list[Hash], k: int = K, first: int = 0, cut: int = 7) -> Kmv:
    builders = Builders(2, k)
    for start in range(0, len(values), cut):
        hi, lo = as_hashes(values[start : start + cut])
        # Beside another column, which leaves it as it is.
        builders.add(
            Hashes(np.stack([hi[::-1], hi]), np.stack([lo[::-1], lo])), first + start
        )
    return one_of(builders.sketches(), 1)


def expected(values: list[Hash], k: int) -> list[tuple[Hash, int, int]]:
    times = Counter(values)
    return [(h, values.index(h), times[h]) for h in sorted(times)[:k]]


def entries(found: Kmv) -> list[tuple[Hash, int, int]]:
    hashes = zip(found.hi.tolist(), found.lo.tolist(), strict=True)
    rest = zip(found.position.tolist(), found.repeats.tolist(), strict=True)
    return [(h, *more) for h, more in zip(hashes, rest, strict=True)]


@settings(deadline=None)
@given(VALUES, st.integers(2, 9), st.integers(1, 70))
def test_a_sketch_keeps_the_smallest_distinct_hashes(
    values: list[Hash], k: int, cut: int
) -> None:
    sketched = sketch(values, k, cut=cut)
    assert entries(sketched) == expected(values, k)
    assert sketched.complete == (len(set(values)) <= k)


@settings(deadline=None)
@given(VALUES, st.lists(st.integers(0, 60), max_size=4))
def test_sketches_of_parts_merge_into_that_of_the_whole(
    values: list[Hash], cuts: list[int]
) -> None:
    ends = sorted({0, len(values), *(min(cut, len(values)) for cut in cuts)})
    parts = [sketch(values[a:b], first=a) for a, b in itertools.pairwise(ends)] or [
        sketch(values)
    ]
    for order in (parts, parts[::-1]):
        sketched = merged(order, K)
        assert entries(sketched) == expected(values, K)
        assert sketched.complete == (len(set(values)) <= K)


@settings(max_examples=examples(30, 100))
@given(VALUES, VALUES, st.booleans())
def test_only_what_is_not_contained_is_refuted(
    child: list[Hash], parent: list[Hash], bag: bool
) -> None:
    stack = stacked([sketch(child), sketch(parent), sketch(child + parent)])
    sketched = compare(stack, np.array([0, 0]), np.array([1, 2]), bag)
    assert sketched.missing[1] == 0  # the child is part of both together
    lacking = Counter(child) - Counter(parent) if bag else set(child).difference(parent)
    if sketched.missing[0]:
        assert child[sketched.witness[0]] in lacking
    else:
        assert sketched.witness[0] == -1
    if len(set(child)) <= K and len(set(parent)) <= K:
        assert sketched.missing[0] == len(lacking)
        assert sketched.looked_up[0] == len(set(child))
        if lacking:
            assert sketched.witness[0] == min(child.index(h) for h in lacking)


@pytest.mark.parametrize("distinct", [100, 256, 257, 5_000, 200_000])
def test_the_estimate_of_distinct_values(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    values = rng.integers(0, 2**64, (2, distinct), dtype=np.uint64)
    twice = np.concatenate([values, values[:, ::-1]], axis=1)
    builders = Builders(1, 256)
    builders.add(Hashes(twice[:1].copy(), twice[1:].copy()), 0)
    sketched = one_of(builders.sketches(), 0)
    if distinct <= 256:
        assert sketched.complete
        assert sketched.distinct == distinct
    else:
        # The relative deviation is about 1/√(k − 2) (Beyer et al., section 3).
        assert sketched.distinct == pytest.approx(distinct, rel=4 / np.sqrt(254))


@settings(max_examples=examples(100, 1000))
@given(st.lists(st.tuples(VALUES, VALUES), max_size=5), st.integers(1, 6))
def test_what_is_told_as_fresh_is_every_value_once_at_least(
    blocks: list[tuple[list[Hash], list[Hash]]], k: int
) -> None:
    builders, salts = Builders(2, k), np.array([5, 2**63 + 1], np.uint64)
    told: list[list[int]] = [[], []]
    for number, block in enumerate(blocks):
        sizes = [len(column) for column in block]
        ends = np.cumsum([0, *sizes])
        hashes = as_hashes([value for column in block for value in column])
        runs = Runs(hashes, ends, 0, np.full(2, -1))
        halves, new = builders.add_runs(runs, 100 * number, salts)
        assert len(new) == 3
        for c in range(2):
            told[c] += (halves[new[c] : new[c + 1]] ^ salts[c]).tolist()
    for c in range(2):
        values = [value for block in blocks for value in block[c]]
        assert set(told[c]) == {lo for _, lo in values}
        if len(set(values)) < 2 * k:  # nothing was cut: each comes once
            assert sorted(told[c]) == sorted(lo for _, lo in set(values))
    sketches = builders.sketches()
    for c in range(2):
        counts = Counter(value for block in blocks for value in block[c])
        kept = one_of(sketches, c)
        least = sorted(counts)[:k]
        assert list(zip(kept.hi.tolist(), kept.lo.tolist(), strict=True)) == least
        assert kept.repeats.tolist() == [counts[value] for value in least]
