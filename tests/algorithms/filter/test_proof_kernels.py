"""Gradients, figures by image, intervals: against differences, areas and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from winnow.algorithms.filter.intervals import crossed_interval, crossed_variance
from winnow.algorithms.filter.per_image import (
    auc_by_image,
    next_strangers,
    pair_figures,
)
from winnow.algorithms.filter.proxy_heads import (
    HeadSettings,
    batches,
    pair_gradients,
    train_heads,
    train_probe,
    unit,
)
from winnow.algorithms.filter.ranking_quality import rank_auc


def test_gradients_are_those_of_the_loss():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(9, 5)), rng.normal(size=(9, 4))
    left, right = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    weights = rng.random(9)

    def loss(left: np.ndarray, right: np.ndarray) -> float:
        each = pair_gradients(x, t, left, right, 7.0, weights)[2]
        return float(each @ weights)

    by_left, by_right, _ = pair_gradients(x, t, left, right, 7.0, weights)
    for matrix, gradient, at_left in ((left, by_left, 1), (right, by_right, 0)):
        for i in np.ndindex(matrix.shape):
            step = np.zeros_like(matrix)
            step[i] = 1e-3
            up, down = (
                loss(left + s * at_left * step, right)
                if at_left
                else loss(left, right + s * step)
                for s in (1, -1)
            )
            assert gradient[i] == pytest.approx((up - down) / 2e-3, abs=2e-3)


def test_every_row_comes_once_before_any_comes_again():
    drawn = list(batches(10, 5, 4, seed=1))
    assert sorted(np.concatenate(drawn[:2])) == list(range(10))
    assert sorted(np.concatenate(drawn[2:])) == list(range(10))
    assert [len(rows) for rows in batches(3, 5, 2, seed=0)] == [3, 3]


def test_heads_learn_a_rotation_and_a_probe_two_halves():
    rng = np.random.default_rng(0)
    x, _ = unit(rng.normal(size=(400, 8)).astype(np.float32))
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    t = (x @ turn).astype(np.float32)
    settings = HeadSettings(width=8, batch=50)
    left, right = train_heads(x[:300], t[:300], settings, 300, seed=0)
    places = (unit(x[300:] @ left)[0] @ unit(t[300:] @ right)[0].T).argmax(axis=1)
    assert (places == np.arange(100)).mean() > 0.9
    labels = (x[:, 0] > 0).astype(np.int64)
    weights, offsets = train_probe(x[:300], labels[:300], 2, settings, 300, seed=0)
    said = (x[300:] @ weights + offsets).argmax(axis=1)
    assert (said == labels[300:]).mean() > 0.9


def test_parts_of_an_area_add_up_to_it():
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(size=40) + 0.5, rng.normal(size=(40, 3))
    wrong[rng.random((40, 3)) < 0.2] = np.nan
    expected = rank_auc(right, wrong[~np.isnan(wrong)])
    assert auc_by_image(right, wrong).mean() == pytest.approx(expected)


def test_strangers_are_of_other_groups():
    groups = np.array([0, 0, 1, 1, 2])
    order = np.array([3, 0, 4, 1, 2])
    strangers = next_strangers(groups, order, 3)
    assert (groups[strangers] != groups[:, None]).all()
    assert (next_strangers(np.zeros(4, np.int64), np.arange(4), 2) == -1).all()
    # Two rows of one group have three others, whatever is asked for.
    assert (next_strangers(groups, order, 4)[:2] >= 0).sum(axis=1).tolist() == [3, 3]


def test_perfect_and_constant_vectors_have_the_figures_that_they_should():
    groups = np.arange(20)
    strangers = next_strangers(groups, groups, 4)
    same = np.eye(20, dtype=np.float32)
    figures = pair_figures(same, same, groups, strangers)
    assert {name: values.mean() for name, values in figures.items()} == {
        "auc_random": 1.0,
        "recall_at_1": 1.0,
        "recall_at_5": 1.0,
        "recall_at_10": 1.0,
    }
    constant = np.ones((20, 1), np.float32)
    figures = pair_figures(constant, constant, groups, strangers)
    assert figures["auc_random"].mean() == 0.5
    assert figures["recall_at_10"].mean() == 0


def test_one_more_random_draw_is_seldom_better_than_random():
    """Selections by chance, images and trainings vary: at most 2.5 % look better."""
    rng = np.random.default_rng(0)
    better, without = 0, 0
    for _ in range(200):
        images = rng.normal(size=80)

        def arm(level: np.ndarray, images: np.ndarray = images) -> np.ndarray:
            noise = 0.02 * rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=(5, 80))
            return images + level[:, None] + noise

        run = arm(np.full(5, 0.1 * rng.normal()))
        random = arm(0.1 * rng.normal(size=5))
        intervals = [
            crossed_interval(run, random, drawn=drawn) for drawn in (True, False)
        ]
        better += intervals[0].low > 0
        without += intervals[1].low > 0
    assert better <= 0.025 * 200
    # The draw's own variance is what keeps it so.
    assert without > better


def test_an_interval_over_seeds_and_images_is_as_wide_as_both_make_it():
    rng = np.random.default_rng(0)
    images = rng.normal(size=400)
    one = np.tile(images, (5, 1)) + 1.0
    of_images = crossed_interval(one, np.zeros_like(one), drawn=False)
    assert of_images.high - of_images.mean == pytest.approx(2.776 / 20, rel=0.1)
    seeds = rng.normal(size=(5, 1))
    of_seeds = crossed_interval(np.tile(seeds, 400), np.zeros((5, 400)), drawn=False)
    expected = 2.776 * seeds.std(ddof=1) / np.sqrt(5)
    assert of_seeds.high - of_seeds.mean == pytest.approx(expected, rel=0.1)
    single = crossed_interval(one[:1], np.zeros((1, 400)), drawn=False)
    assert np.isinf(single.low)


def test_the_variance_is_that_of_a_bootstrap_of_rows_and_columns():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 1)) + rng.normal(size=30) + rng.normal(size=(4, 30))
    means = [
        values[np.ix_(rng.integers(0, 4, 4), rng.integers(0, 30, 30))].mean()
        for _ in range(8000)
    ]
    assert crossed_variance(values) == pytest.approx(np.var(means), rel=0.06)
