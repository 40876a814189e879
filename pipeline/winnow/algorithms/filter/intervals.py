"""Intervals of differences between two ways of training, over seeds and over images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def t_interval(values: Floats, confidence: float = 0.95) -> Interval:
    """Return the mean of a few values with Student's interval (Student 1908).

    values: (n,); for one value the bounds are infinite.
    """
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(
        student.ppf((1 + confidence) / 2, len(values) - 1)
        * values.std(ddof=1)
        / np.sqrt(len(values))
    )
    return Interval(mean, mean - half, mean + half)


def paired_bootstrap(
    differences: Floats, *, seed: int = 0, draws: int = 2000, confidence: float = 0.95
) -> Interval:
    """Return the mean difference with its percentile bootstrap interval.

    differences: (n,), of one unit each (an image under both ways), drawn with
    repetition (Efron & Tibshirani 1993, §13.3).
    """
    random = np.random.default_rng(seed)
    n = len(differences)
    means = np.empty(draws)
    for draw in range(draws):
        means[draw] = differences[random.integers(0, n, n)].mean()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail]).tolist()
    return Interval(float(differences.mean()), low, high)
