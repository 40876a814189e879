"""Whether a score can be read as a chance: a logistic fit and its reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_ITERATIONS = 100


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """p(right | score) = 1 / (1 + e^−(slope · score + offset))."""

    slope: float
    offset: float

    def __call__(self, scores: Floats) -> Floats:
        """Return the chance that each pair is right: (n,) float64."""
        logits = np.clip(self.slope * scores + self.offset, -700, 700)
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of one interval of predicted chances: how many, predicted, observed."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


def fit_logistic(scores: Floats, right: Flags) -> ScoreCalibration:
    """Return Platt's fit of the chance that a pair is right (Platt 1999).

    scores: (n,) finite; right: (n,). Targets are (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2)
    in place of 1 and 0, his remedy for scores that separate the two perfectly; the
    likelihood's maximum is found by Newton's method with halved steps. Raises
    ValueError unless there are both right and wrong pairs.
    """
    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        raise ValueError("a fit needs both right and wrong pairs")
    targets = np.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre = float(scores.mean())
    width = float(scores.std()) or 1.0
    columns = np.stack([(scores - centre) / width, np.ones(len(scores))], axis=1)
    weights = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    for _ in range(_ITERATIONS):
        chance = 1.0 / (1.0 + np.exp(-columns @ weights))
        slope = columns.T @ (chance - targets)
        curve = (columns * (chance * (1 - chance))[:, None]).T @ columns
        step = np.linalg.solve(curve + 1e-12 * np.eye(2), slope)
        size, now = 1.0, _loss(columns @ weights, targets)
        while size > 1e-9 and _loss(columns @ (weights - size * step), targets) > now:
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < 1e-10:
            break
    return ScoreCalibration(
        float(weights[0] / width), float(weights[1] - weights[0] * centre / width)
    )


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())


def brier(chances: Floats, right: Flags) -> float:
    """Return the mean squared distance of chances to what was (Brier 1950)."""
    return float(np.mean((chances - right) ** 2))


def reliability(chances: Floats, right: Flags, bins: int = 10) -> list[Bin]:
    """Return pairs by predicted chance, in `bins` equal intervals; empty ones left out.

    An interval holds its upper border (Guo et al. 2017, arXiv 1706.04599, §2).
    """
    interval = np.clip(np.ceil(chances * bins).astype(int) - 1, 0, bins - 1)
    intervals = []
    for number in np.unique(interval).tolist():
        inside = interval == number
        intervals.append(
            Bin(
                number / bins,
                (number + 1) / bins,
                int(inside.sum()),
                float(chances[inside].mean()),
                float(right[inside].mean()),
            )
        )
    return intervals


def expected_calibration_error(bins: list[Bin]) -> float:
    """Return Σ rows/n · |observed − predicted| (Guo et al. 2017, eq. 3)."""
    rows = sum(part.rows for part in bins)
    return sum(part.rows * abs(part.observed - part.predicted) for part in bins) / rows
