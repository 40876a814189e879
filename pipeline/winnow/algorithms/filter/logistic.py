"""Logistic regression: is a vector rather of the first set or of the second?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logistic:
    """Weights for vectors as they come: `vectors @ weights + bias` is the log odds."""

    weights: Floats
    bias: float

    def log_odds(self, vectors: npt.NDArray[np.floating[Any]]) -> Floats:
        """Return (n,) log odds of (n, dim) vectors for the first set."""
        odds: Floats = vectors.astype(np.float64) @ self.weights + self.bias
        return odds


def fit_logistic(
    first: npt.NDArray[np.floating[Any]],
    second: npt.NDArray[np.floating[Any]],
    l2: float = 1.0,
) -> Logistic:
    """Fit (n, dim) vectors of the first set against (m, dim) ones of the second.

    Minimises the mean negative log-likelihood, both sets weighing the same however
    many rows they have, plus l2 / (2 (n + m)) · |w|² over standardised columns; the
    minimum is unique for l2 > 0. Raises ValueError if a set is empty.
    """
    if not len(first) or not len(second):
        raise ValueError("a classifier needs rows of both sets")
    rows = np.concatenate([first, second]).astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    deviation[deviation == 0] = 1.0
    rows = (rows - mean) / deviation
    sign = np.concatenate([np.ones(len(first)), -np.ones(len(second))])
    share = np.where(sign > 0, 0.5 / len(first), 0.5 / len(second))
    strength = l2 / len(rows)

    def loss(given: Floats) -> tuple[float, Floats]:
        weights, bias = given[:-1], given[-1]
        margin = sign * (rows @ weights + bias)
        value = share @ np.logaddexp(0, -margin) + strength / 2 * weights @ weights
        # d/dm log(1 + e^−m) = −1 / (1 + e^m), in a form that never overflows.
        slope = -share * sign * 0.5 * (1 - np.tanh(margin / 2))
        return float(value), np.append(rows.T @ slope + strength * weights, slope.sum())

    start = np.zeros(rows.shape[1] + 1)
    options = {"maxiter": 1000, "gtol": 1e-9, "ftol": 1e-14}
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    weights = best[:-1] / deviation
    return Logistic(weights, float(best[-1] - mean @ weights))
