"""How much rows still teach when they come again, and the best share for a budget.

Goyal et al. 2024, "Scaling Laws for Data Filtering: Data Curation cannot be Compute
Agnostic" (CVPR, arXiv 2404.07177). After j epochs of a bucket, n_j samples seen, the
error is y = a · n_1^b_1 · Π_{j≥2} (n_j / n_{j−1})^b_j + d, where the utility falls with
every repetition, b_j = b · δ^(j−1), by δ = (1/2)^(1/τ); τ is its half-life in epochs.
The p best buckets together have the mean of the buckets' b_j, each with the half-life
p · τ (Theorem 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

Floats = npt.NDArray[np.float64]

#: Half-lives in epochs that can be told apart from none, and from for ever.
HALF_LIVES = (0.1, 100.0)
_MOST_UTILITY = 4.0
#: Errors nearer than this, in shares, differ by rounding.
_EQUAL = 1e-9
#: Half-lives that a fit starts from.
_STARTS = (0.5, 2.0, 8.0)


@dataclass(frozen=True)
class UtilityLaw:
    """The law of p buckets of equal size, the best one first.

    rows: of each bucket. scale: a, which all share. floor: d, the error that no sample
    takes away. utilities: (p,), −b, how fast the error falls with samples never seen.
    half_lives: (p,), τ in epochs of a bucket of so many rows.

    >>> law = UtilityLaw(1000, 0.5, 0.01, np.array([0.4, 0.3]), np.array([1.0, 1.0]))
    >>> [law.best(samples) for samples in (1_000, 100_000)]
    [1, 2]
    """

    rows: float
    scale: float
    floor: float
    utilities: Floats
    half_lives: Floats

    def errors(self, samples: Sequence[float]) -> Floats:
        """Return (p, r): each bucket's own error after r numbers of samples."""
        gains = np.stack(
            [
                self.utilities * _learned(seen, self.rows, self.half_lives)
                for seen in samples
            ],
            axis=1,
        )
        return np.asarray(self.floor + self.scale * np.exp(-gains))

    def of_best(self, samples: float) -> Floats:
        """Return (p,): the error of the best bucket, the best two, … all, mixed."""
        errors = np.empty(len(self.utilities))
        for count in range(1, len(errors) + 1):
            each = self.utilities[:count] * _learned(
                samples, count * self.rows, count * self.half_lives[:count]
            )
            errors[count - 1] = self.floor + self.scale * np.exp(-each.mean())
        return errors

    def best(self, samples: float) -> int:
        """Return how many of the best buckets err least together; fewest of equals."""
        errors = self.of_best(samples)
        return int(np.argmax(errors <= errors.min() * (1 + _EQUAL))) + 1

    def resized(self, rows: float) -> UtilityLaw:
        """Return the law for buckets of another size.

        Half-lives grow with the rows, as those of mixed buckets do (Theorem 1).
        """
        lives = self.half_lives * (rows / self.rows)
        return UtilityLaw(rows, self.scale, self.floor, self.utilities, lives)


def _learned(samples: float, rows: float, half_lives: Floats) -> Floats:
    """Return (p,): log n_1 + Σ_{j≥2} δ^(j−1) · log(n_j / n_{j−1}), by half-life."""
    logs = _log_growth(samples, rows)
    decay = 0.5 ** (np.arange(len(logs)) / half_lives[:, None])
    return np.asarray(decay @ logs)


def _log_growth(samples: float, rows: float) -> Floats:
    """Return log n_1, then log(n_j / n_{j−1}) of each further epoch, whole or not."""
    epochs = max(1, int(np.ceil(samples / rows)))
    seen = np.minimum(rows * np.arange(1, epochs + 1), samples)
    return np.diff(np.log(seen), prepend=0.0)


def fit_law(samples: Sequence[float], errors: Floats, rows: float) -> UtilityLaw:
    """Return the law that comes nearest to measured errors, in logarithms.

    samples: r numbers of samples seen, some below and some above `rows`, the rows of a
    bucket. errors: (p, r), above 0. Least squares of log y from three starts; a and d
    are common to all buckets, as a bucket of which nothing was seen teaches nothing.
    Raises ValueError without three numbers of samples, or for errors that are not
    above 0.
    """
    if len(samples) < 3 or not np.all(errors > 0):
        raise ValueError("give three numbers of samples or more, and errors above 0")
    fits = [_fit(samples, errors, rows, start) for start in _STARTS]
    return min(fits, key=lambda fit: fit[0])[1]


def _fit(
    samples: Sequence[float], errors: Floats, rows: float, start: float
) -> tuple[float, UtilityLaw]:
    """Return what is left of the squares, and the law, from one half-life for all."""
    buckets = len(errors)
    growth = [_log_growth(seen, rows) for seen in samples]
    longest = max(len(logs) for logs in growth)
    padded = np.stack([np.pad(logs, (0, longest - len(logs))) for logs in growth])
    epochs, target = np.arange(longest), np.log(errors)

    def law(numbers: Floats) -> tuple[float, float, Floats, Floats]:
        lives = np.exp(numbers[2 + buckets :])
        return np.exp(numbers[0]), numbers[1], numbers[2 : 2 + buckets], lives

    def gaps(numbers: Floats) -> Floats:
        scale, floor, utilities, lives = law(numbers)
        learned = 0.5 ** (epochs / lives[:, None]) @ padded.T
        said = floor + scale * np.exp(-utilities[:, None] * learned)
        return np.asarray((np.log(said) - target).reshape(-1))

    least, highest = float(errors.min()), float(errors.max())
    fewest, most = np.log(HALF_LIVES)
    solved = least_squares(
        gaps,
        [np.log(2 * highest), least / 2, *[0.3] * buckets, *[np.log(start)] * buckets],
        bounds=(
            [-20.0, 0.0, *[0.0] * buckets, *[fewest] * buckets],
            [20.0, least, *[_MOST_UTILITY] * buckets, *[most] * buckets],
        ),
        x_scale="jac",
        max_nfev=300,
    )
    scale, floor, utilities, half_lives = law(solved.x)
    fitted = UtilityLaw(rows, float(scale), float(floor), utilities, half_lives)
    return float(solved.cost), fitted
