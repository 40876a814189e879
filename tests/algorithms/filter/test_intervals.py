"""Intervals hold the truth as often as they say."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from winnow.algorithms.filter.intervals import paired_bootstrap, t_interval


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_t_interval_is_scipys(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    interval = t_interval(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
    assert interval.mean == pytest.approx(values.mean())


def test_one_value_says_nothing_of_its_spread():
    interval = t_interval(np.array([0.3]))
    assert (interval.mean, interval.low, interval.high) == (0.3, -np.inf, np.inf)


def test_the_bootstrap_covers_the_truth_about_as_often_as_promised():
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        interval = paired_bootstrap(random.exponential(1, 60), seed=trial, draws=200)
        hits += interval.low <= 1 <= interval.high
    assert 0.86 <= hits / 200 <= 0.99
    one, again = (paired_bootstrap(np.arange(9.0), seed=4) for _ in range(2))
    assert one == again
