"""Logistic regression against the conditions of its minimum."""

from __future__ import annotations

import numpy as np
import pytest
from winnow.algorithms.filter.logistic import fit_logistic


def sets(seed=0, first=40, second=90, dim=5):
    rng = np.random.default_rng(seed)
    apart = rng.normal(size=dim)
    return rng.normal(size=(first, dim)) + apart, rng.normal(size=(second, dim)) * 3


@pytest.mark.parametrize("l2", [0.1, 1.0, 50.0])
def test_the_gradient_of_the_balanced_penalised_likelihood_is_zero(l2):
    first, second = sets()
    model = fit_logistic(first, second, l2)
    rows = np.concatenate([first, second])
    deviation = rows.std(axis=0)
    unlike_first = 1 / (1 + np.exp(model.log_odds(first)))
    unlike_second = 1 / (1 + np.exp(-model.log_odds(second)))
    pull = (
        (first * unlike_first[:, None]).mean(axis=0) / 2
        - (second * unlike_second[:, None]).mean(axis=0) / 2
    ) / deviation
    # The penalty is on weights of standardised columns.
    penalty = l2 / len(rows) * model.weights * deviation
    assert np.allclose(unlike_first.mean(), unlike_second.mean(), atol=1e-6)
    assert np.allclose(pull, penalty, atol=1e-6)


def test_repeating_one_set_changes_nothing_but_the_penalty():
    first, second = sets()
    once = fit_logistic(first, second, 1e-3)
    more = fit_logistic(
        np.tile(first, (3, 1)), second, 1e-3 * (3 * 40 + 90) / (40 + 90)
    )
    # The deviation of all rows, which scales the penalty alone, moves a little.
    assert np.allclose(once.weights, more.weights, rtol=1e-3)


def test_scale_and_shift_of_a_column_change_no_score():
    first, second = sets()
    plain = fit_logistic(first, second)
    moved = fit_logistic(first * 100 + 7, second * 100 + 7)
    assert np.allclose(
        plain.log_odds(first), moved.log_odds(first * 100 + 7), atol=1e-5
    )


def test_a_constant_column_gets_no_weight():
    first, second = sets()
    first[:, 2] = second[:, 2] = 4.0
    assert fit_logistic(first, second).weights[2] == 0


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="both sets"):
        fit_logistic(np.zeros((0, 3)), np.zeros((4, 3)))
