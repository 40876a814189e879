"""Learned weights of scores: the gradient by brute force, a planted score is found."""

from __future__ import annotations

import numpy as np
import pytest
from winnow.algorithms.filter.proxy_heads import pair_gradients, unit
from winnow.algorithms.filter.score_weights import (
    WeightSettings,
    _gains,
    learn_weights,
    normal_scores,
    softmax,
)
from winnow.numeric.threads import one_blas_thread


def test_gains_are_products_of_each_pairs_gradient():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(6, 5)), rng.normal(size=(6, 4))
    heads = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    downhill = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    length = np.sqrt(sum((part**2).sum() for part in downhill))
    gains = _gains((x, t), heads, downhill, 3.0)
    for row in range(6):
        alone = np.eye(6)[row]
        grads = pair_gradients(x, t, *heads, 3.0, alone)
        product = sum((a * b).sum() for a, b in zip(grads[:2], downhill, strict=True))
        assert gains[row] * length == pytest.approx(product, rel=0.02, abs=0.02)


def test_the_score_that_knows_wrong_pairs_gets_the_weight():
    rng = np.random.default_rng(0)
    images, _ = unit(rng.normal(size=(700, 16)).astype(np.float32))
    texts, _ = unit(images + 0.1 * rng.normal(size=images.shape).astype(np.float32))
    wrong = np.flatnonzero(rng.random(500) < 0.5)
    mixed = texts[:500].copy()
    mixed[wrong] = mixed[np.roll(wrong, 1)]
    knows = (~np.isin(np.arange(500), wrong)) + rng.normal(size=500)
    scores = normal_scores(np.column_stack([knows, rng.normal(size=500)]))
    settings = WeightSettings(steps=120)
    held_out = images[500:], texts[500:]
    pool = images[:500], mixed
    with one_blas_thread():
        weights = learn_weights(scores, pool, held_out, settings, seed=1)
        again = learn_weights(scores, pool, held_out, settings, seed=1)
    assert weights.tolist() == again.tolist()
    assert weights[0] > 0.5
    assert weights[0] > 2 * abs(weights[1])


def test_scores_by_rank_have_no_scale():
    scores = np.array([[3.0, 1.0], [1.0, 100.0], [2.0, np.nan]])
    normal = normal_scores(scores)
    assert np.array_equal(normal, normal_scores(scores * 7 + 2))
    assert normal[:, 0].argsort().tolist() == [1, 2, 0]
    assert normal[:, 1].argsort().tolist() == [2, 0, 1]
    assert softmax(np.array([0.0, np.log(3)])) == pytest.approx([0.25, 0.75])
