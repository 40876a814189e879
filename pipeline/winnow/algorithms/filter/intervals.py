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


def crossed_interval(
    one: Floats, other: Floats, *, drawn: bool, confidence: float = 0.95
) -> Interval:
    """Return the mean difference of two ways of training, over seeds and images.

    one, other: (seeds, images), each training's value of each image, paired by both.
    drawn: whether `other` trained on another random draw of rows with each seed, and
    `one` has to lie beyond what one more such draw could be.

    The variance is that of a bootstrap which draws seeds and images with repetition,
    independently (Owen 2007, "The pigeonhole bootstrap"), in closed form. For S seeds
    that makes their part s² / S too small by 1 / S of itself, which is added, and with
    `drawn` the variance of a single draw. The bounds are Student's with S − 1 degrees
    of freedom: a few seeds say little of their spread. For one seed they are infinite.
    """
    gaps = one - other
    seeds = len(gaps)
    mean = float(gaps.mean())
    if seeds < 2:
        return Interval(mean, -np.inf, np.inf)
    variance = crossed_variance(gaps) + gaps.mean(axis=1).var(ddof=1) / seeds**2
    if drawn:
        variance += other.mean(axis=1).var(ddof=1)
    half = float(student.ppf((1 + confidence) / 2, seeds - 1) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half)


def crossed_variance(values: Floats) -> float:
    """Return the variance of a mean whose rows and columns are drawn with repetition.

    values: (n, m). With counts of rows and columns that are multinomial, it is
    (Σ d² + (1 − 1/m) Σ (row sums)² + (1 − 1/n) Σ (column sums)²) / (nm)², where d are
    deviations from the mean.
    """
    n, m = values.shape
    deviations = values - values.mean()
    each = float((deviations**2).sum())
    rows = float((deviations.sum(axis=1) ** 2).sum())
    columns = float((deviations.sum(axis=0) ** 2).sum())
    total = each + (1 - 1 / m) * rows + (1 - 1 / n) * columns
    return float(total / (n * m) ** 2)
