"""Greedy orders against brute force, and their bounds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms import whole_numbers
from winnow.algorithms.prune.greedy_order import facility_location, farthest_first
from winnow.algorithms.prune.hierarchy import nearest_members, tree_counts
from winnow.algorithms.prune.prototypes import uniform_counts
from winnow.algorithms.whole_numbers import WholeNumbers, mean_of_nearest


def vectors_of(seed: int, rows: int = 30) -> np.ndarray:
    """Rows of which a third repeat others, so that there are ties."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 6)).astype(np.float16)
    vectors[: rows // 3] = vectors[rows // 3 : 2 * (rows // 3)]
    return vectors


def covered(products: np.ndarray, chosen: list[int]) -> float:
    return float(np.maximum(products[chosen].max(axis=0), 0.0).sum())


@given(st.integers(0, 10_000), st.booleans())
def test_each_beginning_is_the_greedy_choice_at_that_budget(seed: int, held: bool):
    vectors = vectors_of(seed)
    products = WholeNumbers(vectors).products(slice(None))
    with pytest.MonkeyPatch.context() as patch:
        if not held:
            patch.setattr(whole_numbers, "_HELD", 100)
        order, gains = facility_location(vectors, len(vectors))
    chosen: list[int] = []
    for place in range(len(vectors)):
        left = [row for row in range(len(vectors)) if row not in chosen]
        best = max(left, key=lambda row: (covered(products, [*chosen, row]), -row))
        before = covered(products, chosen) if chosen else 0.0
        chosen.append(best)
        assert order[place] == best
        assert gains[place] * 4.0**14 == covered(products, chosen) - before
    by_score = sorted(range(len(order)), key=lambda i: (-gains[i], order[i]))
    assert by_score == list(range(len(order)))
    np.testing.assert_array_equal(facility_location(vectors, 7)[0], order[:7])


def test_a_greedy_choice_has_its_part_of_the_best():
    vectors = vectors_of(1, rows=12)
    products = WholeNumbers(vectors).products(slice(None))
    order, gains = facility_location(vectors, 4)
    best = max(covered(products, list(some)) for some in combinations(range(12), 4))
    assert covered(products, order.tolist()) == gains.sum() * 4.0**14
    assert gains.sum() * 4.0**14 >= (1 - 1 / np.e) * best


@given(st.integers(0, 10_000), st.integers(0, 29))
def test_the_next_row_is_the_farthest_from_those_before(seed: int, first: int):
    vectors = vectors_of(seed)
    products = WholeNumbers(vectors).products(slice(None)) / 4.0**14
    order, distances = farthest_first(vectors, first, len(vectors))
    assert sorted(order) == list(range(len(vectors)))
    assert (order[0], distances[0]) == (first, 2.0)
    for place in range(1, len(order)):
        before, left = order[:place], order[place:]
        nearest = products[left][:, before].max(axis=1)
        farthest = left[nearest == nearest.min()].min()
        assert order[place] == farthest
        assert distances[place] == 1.0 - nearest.min()
    by_score = sorted(range(1, len(order)), key=lambda i: (-distances[i], order[i]))
    assert by_score == list(range(1, len(order)))


def test_farthest_first_covers_within_twice_the_best_radius():
    vectors = vectors_of(2, rows=14).astype(float)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = np.linalg.norm(units[:, None] - units[None], axis=2)
    order, _ = farthest_first(vectors, 0, 3)
    best = min(
        apart[list(some)].min(axis=0).max() for some in combinations(range(14), 3)
    )
    assert apart[order].min(axis=0).max() <= 2 * best + 1e-3


@pytest.mark.parametrize("held", [1 << 24, 100])
def test_mean_cosines_are_those_of_the_nearest(
    held: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(whole_numbers, "_HELD", held)
    vectors = vectors_of(3).astype(float)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.sort(cosines, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(mean_of_nearest(vectors, 5), expected, atol=2e-4)
    # Of two others both count.
    few = [(cosines[i, :3].sum(where=np.arange(3) != i)) / 2 for i in range(3)]
    np.testing.assert_allclose(mean_of_nearest(vectors[:3], 5), few, atol=2e-4)
    assert np.isnan(mean_of_nearest(vectors[:1], 5)).all()


@given(st.lists(st.integers(0, 30), min_size=6, max_size=6), st.floats(0, 1), st.data())
def test_a_budget_goes_down_the_tree_evenly(
    sizes: list[int], share: float, data: st.DataObject
):
    low = data.draw(st.permutations([0, 0, 1, 1, 2, 2]))
    top = data.draw(st.permutations([0, 0, 1]))
    levels = [np.array(low, np.int32), np.array(top, np.int32)]
    count = int(share * sum(sizes))
    counts = tree_counts(np.array(sizes), levels, count)
    assert counts.sum() == count
    assert (counts <= sizes).all()
    middle = np.bincount(low, counts, 3)
    room = np.bincount(low, sizes, 3).astype(int)
    # Every cluster shares what it has among its children by filling them evenly.
    np.testing.assert_array_equal(
        np.bincount(top, middle, 2),
        uniform_counts(np.bincount(top, room, 2).astype(int), count),
    )
    for parent in range(3):
        children = np.flatnonzero(np.array(low) == parent)
        np.testing.assert_array_equal(
            counts[children],
            uniform_counts(np.array(sizes)[children], int(middle[parent])),
        )


def test_the_nearest_members_of_clusters():
    parents = np.array([0, 1, 0, 0, 1], np.int32)
    distances = np.array([0.3, 0.2, 0.1, 0.1, 0.9])
    assert nearest_members(parents, distances, 2).tolist() == [1, 2, 3, 4]
    assert nearest_members(parents, distances, 1).tolist() == [1, 2]
