"""Areas, precision, places and correlations against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from winnow.algorithms.filter.ranking_quality import (
    jaccard,
    precision_at,
    rank_auc,
    rank_correlation,
    recalls,
)

from tests.examples import examples

# Few distinct values, so that ties are the rule.
scores = st.lists(st.integers(-3, 3), min_size=1, max_size=12).map(
    lambda values: np.array(values, float)
)


@given(scores, scores)
@settings(max_examples=examples(45, 150), deadline=None)
def test_the_area_is_the_share_of_ordered_pairs(higher, lower):
    wins = sum((h > w) + 0.5 * (h == w) for h in higher for w in lower)
    assert rank_auc(higher, lower) == wins / (len(higher) * len(lower))


def test_the_area_of_nothing_is_unknown_and_a_nan_is_refused():
    assert math.isnan(rank_auc(np.array([]), np.array([1.0])))
    with pytest.raises(ValueError, match="NaN"):
        rank_auc(np.array([1.0, np.nan]), np.array([0.0]))


@given(scores, scores, st.data())
@settings(max_examples=examples(15, 40), deadline=None)
def test_precision_is_the_mean_over_all_orders_of_ties(right, wrong, data):
    k = data.draw(st.integers(1, len(right) + len(wrong)))
    flags = np.repeat([True, False], [len(right), len(wrong)])
    every = np.concatenate([right, wrong])
    random = np.random.default_rng(0)
    precisions = []
    for _ in range(300):
        order = np.lexsort((random.random(len(every)), -every))
        precisions.append(flags[order[:k]].mean())
    expected = precision_at(right, wrong, k)
    assert expected == pytest.approx(np.mean(precisions), abs=0.12)
    assert min(precisions) - 1e-12 <= expected <= max(precisions) + 1e-12


def test_precision_without_ties_is_exact_and_bounds_are_checked():
    right, wrong = np.array([5.0, 4.0, 1.0]), np.array([3.0, 2.0, 0.0])
    precisions = [precision_at(right, wrong, k) for k in range(1, 7)]
    assert precisions == [1, 1, 2 / 3, 2 / 4, 3 / 5, 3 / 6]
    for k in (0, 7):
        with pytest.raises(ValueError, match="within 1 and 6"):
            precision_at(right, wrong, k)


@given(st.integers(0, 500))
@settings(max_examples=examples(20, 60), deadline=None)
def test_a_place_counts_all_wrong_candidates_that_are_not_worse(seed):
    random = np.random.default_rng(seed)
    table = random.integers(0, 4, (6, 7)).astype(float)
    right = random.random((6, 7)) < 0.3
    expected = []
    for row, own in zip(table, right, strict=True):
        if not own.any():
            expected.append(0)
            continue
        best = max(value for value, mine in zip(row, own, strict=True) if mine)
        before = [
            value
            for value, mine in zip(row, own, strict=True)
            if not mine and value >= best
        ]
        expected.append(1 + len(before))
    assert recalls(table, right).tolist() == expected


def test_a_constant_score_recalls_nothing():
    assert recalls(np.zeros((3, 3)), np.eye(3, dtype=bool)).tolist() == [3, 3, 3]


@given(st.integers(0, 200))
@settings(max_examples=examples(15, 40), deadline=None)
def test_rank_correlation_is_spearmans(seed):
    random = np.random.default_rng(seed)
    one, other = random.integers(0, 5, (2, 20)).astype(float)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other)[0])


def test_correlations_and_overlaps_at_their_ends():
    rising = np.arange(5.0)
    assert rank_correlation(rising, rising**3) == pytest.approx(1)
    assert rank_correlation(rising, -rising) == pytest.approx(-1)
    assert math.isnan(rank_correlation(rising, np.zeros(5)))
    assert jaccard(["a", "b"], ["b", "c"]) == 1 / 3
    assert jaccard([], []) == 1
