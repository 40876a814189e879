"""Logistic fits against a general optimiser; reliability of chances that are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from winnow.algorithms.filter.calibration import (
    ScoreCalibration,
    brier,
    expected_calibration_error,
    fit_logistic,
    reliability,
)

from tests.examples import examples


def sample(seed, rows=200, gap=1.0):
    random = np.random.default_rng(seed)
    right = random.random(rows) < 0.4
    right[:2] = [True, False]
    return random.normal(size=rows) + gap * right, right


@given(st.integers(0, 100), st.floats(0.0, 6.0), st.floats(0.01, 100.0))
@settings(max_examples=examples(15, 40), deadline=None)
def test_the_fit_maximises_platts_likelihood(seed, gap, unit):
    scores, right = sample(seed, gap=gap)
    scores = scores * unit + 3 * unit
    yes, no = right.sum(), (~right).sum()
    targets = np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(slope, offset):
        z = slope * scores / unit + offset
        return (np.logaddexp(0, z) - targets * z).sum()

    best = minimize(lambda p: loss(*p), [0.0, 0.0], method="BFGS").fun
    fit = fit_logistic(scores, right)
    assert loss(fit.slope * unit, fit.offset) <= best + 1e-6 * (1 + abs(best))


def test_scores_that_separate_still_have_a_finite_fit():
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    fit = fit_logistic(scores, scores > 0.5)
    chances = fit(scores)
    assert np.isfinite([fit.slope, fit.offset]).all()
    assert (chances[:2] < 0.5).all()
    assert (chances[2:] > 0.5).all()


def test_a_fit_needs_both_kinds():
    with pytest.raises(ValueError, match="both"):
        fit_logistic(np.arange(3.0), np.ones(3, bool))


def test_extreme_logits_do_not_overflow():
    with np.errstate(all="raise"):
        assert ScoreCalibration(1e6, 0.0)(np.array([-1.0, 1.0]))[1] == 1.0


def test_bins_hold_every_pair_once_and_their_upper_border():
    chances = np.array([0.0, 0.1, 0.100001, 0.95, 1.0])
    right = np.array([False, True, False, True, True])
    bins = reliability(chances, right)
    assert [(b.low, b.rows, b.observed) for b in bins] == [
        (0.0, 2, 0.5),
        (0.1, 1, 0.0),
        (0.9, 2, 1.0),
    ]
    # (2·|.5 − .05| + |0 − .100001| + 2·|1 − .975|) / 5
    assert expected_calibration_error(bins) == pytest.approx(1.050001 / 5)
    assert brier(chances, right) == pytest.approx(
        (0 + 0.81 + 0.100001**2 + 0.0025 + 0) / 5
    )


def test_honest_chances_are_calibrated_and_boastful_ones_are_not():
    random = np.random.default_rng(0)
    chances = random.random(20_000)
    right = random.random(20_000) < chances
    assert expected_calibration_error(reliability(chances, right)) < 0.02
    boastful = (chances > 0.5).astype(float)
    assert expected_calibration_error(reliability(boastful, right)) > 0.2
