"""The law of utility under repetition: planted half-lives, mixtures, larger budgets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.filter.repetition import UtilityLaw, fit_law

ROWS = 2000
SAMPLES = [ROWS * passes for passes in (0.25, 0.5, 1, 2, 4, 8, 16)]
UTILITIES, HALF_LIVES = (0.45, 0.3, 0.15, 0.05), (1.0, 3.0, 0.5, 6.0)
PLANTED = UtilityLaw(ROWS, 0.6, 0.01, np.array(UTILITIES), np.array(HALF_LIVES))


def by_the_paper(samples: float, rows: int, b: list[float], tau: list[float]) -> float:
    """Return log(y − d) − log a as the paper writes it, one epoch after another."""
    together, epoch, seen = len(b) * rows, 0, 0.0
    total = 0.0
    while seen < samples:
        now = min(seen + together, samples)
        worth = np.mean([
            -b_i * 0.5 ** (epoch / (len(b) * tau_i))
            for b_i, tau_i in zip(b, tau, strict=True)
        ])  # fmt: skip
        total += worth * (np.log(now) - (np.log(seen) if seen else 0.0))
        epoch, seen = epoch + 1, now
    return float(total)


@pytest.mark.parametrize("samples", [300, 2000, 3100, 8000, 40_000])
def test_errors_are_those_of_the_paper(samples: int):
    alone, mixed = PLANTED.errors([samples])[:, 0], PLANTED.of_best(samples)
    for count in range(1, 5):
        b, tau = list(UTILITIES[:count]), list(HALF_LIVES[:count])
        said = 0.01 + 0.6 * np.exp(by_the_paper(samples, ROWS, b, tau))
        assert mixed[count - 1] == pytest.approx(said)
        last = 0.01 + 0.6 * np.exp(by_the_paper(samples, ROWS, b[-1:], tau[-1:]))
        assert alone[count - 1] == pytest.approx(last)


def test_planted_half_lives_are_found():
    law = fit_law(SAMPLES, PLANTED.errors(SAMPLES), ROWS)
    assert law.utilities == pytest.approx(UTILITIES, rel=1e-3)
    assert law.half_lives == pytest.approx(HALF_LIVES, rel=1e-3)
    assert (law.scale, law.floor) == pytest.approx((0.6, 0.01), rel=1e-3)


def test_noise_of_one_percent_moves_half_lives_little():
    random = np.random.default_rng(0)
    errors = PLANTED.errors(SAMPLES)
    fits = [
        fit_law(SAMPLES, errors * np.exp(0.01 * random.normal(size=errors.shape)), ROWS)
        for _ in range(20)
    ]
    lives = np.median([fit.half_lives for fit in fits], axis=0)
    assert lives == pytest.approx(HALF_LIVES, rel=0.25)
    for samples in (1_000, 10_000, 100_000):
        chosen = {fit.best(samples) for fit in fits}
        assert max(abs(count - PLANTED.best(samples)) for count in chosen) <= 1


@given(
    st.lists(st.floats(0.01, 0.8), min_size=2, max_size=10),
    st.floats(0.1, 50.0),
    st.integers(300, 10_000),
)
def test_more_samples_never_want_a_smaller_share(
    utilities: list[float], half_life: float, rows: int
):
    ranked = np.array(sorted(utilities, reverse=True))
    law = UtilityLaw(rows, 0.5, 0.0, ranked, np.full(len(ranked), half_life))
    wanted = [law.best(samples) for samples in np.geomspace(100, 100 * rows, 40)]
    assert wanted == sorted(wanted)


def test_rows_that_never_wear_out_are_enough_alone():
    law = UtilityLaw(ROWS, 0.5, 0.0, np.array([0.4, 0.39]), np.array([1e9, 1e9]))
    assert law.best(10**6) == 1


def test_larger_buckets_wear_out_more_slowly():
    assert PLANTED.resized(4000).half_lives == pytest.approx(2 * np.array(HALF_LIVES))


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="three numbers of samples"):
        fit_law([1.0, 2.0], np.ones((1, 2)), 1)
    with pytest.raises(ValueError, match="errors above 0"):
        fit_law(SAMPLES, np.zeros((1, 7)), ROWS)
