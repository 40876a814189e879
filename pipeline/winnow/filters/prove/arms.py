"""The same model trained on several selections of rows, and how far they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.intervals import Interval, crossed_interval
from winnow.numeric.threads import one_blas_thread

Floats = npt.NDArray[np.float64]
Result = dict[str, Any]

METHOD = (
    "95 % intervals: the variance of the mean difference is that of a bootstrap which "
    "draws seeds and held-out images again, both with repetition and independently; "
    "what that lacks for a few seeds is added, and against random the variance of one "
    "random draw, so that a selection counts as better only if it lies beyond what one "
    "more random draw could reach; Student's quantile at seeds − 1 degrees of freedom"
)

#: Trains on one selection with a seed: figures by held-out image, (n,) each.
Training = Callable[[int], dict[str, Floats]]


@dataclass(frozen=True)
class TrainedArm:
    """One way to choose rows, trained with every seed.

    figures: by name, (seeds, images), whose mean is the figure.
    """

    name: str
    rows: int
    figures: dict[str, Floats]

    def summary(self) -> Result:
        """Return the figures with intervals over seeds and images."""
        return {
            "trained_on": self.name,
            "rows": self.rows,
            **{
                name: {
                    **plain(
                        crossed_interval(values, np.zeros_like(values), drawn=False)
                    ),
                    "by_seed": values.mean(axis=1).tolist(),
                }
                for name, values in self.figures.items()
            },
        }


def train_arm(name: str, rows: int, train: Training, seeds: int) -> TrainedArm:
    """Train once for each seed."""
    with one_blas_thread():
        each = [train(seed) for seed in range(seeds)]
    figures = {key: np.stack([run[key] for run in each]) for key in each[0]}
    return TrainedArm(name, rows, figures)


def difference(one: TrainedArm, other: TrainedArm, *, drawn: bool) -> Result:
    """Return by how much one way is better than another, with intervals; see METHOD.

    drawn: whether `other` is a random draw, another one with each seed.
    """
    gaps: Result = {}
    for name, values in one.figures.items():
        against = other.figures[name]
        interval = crossed_interval(values, against, drawn=drawn)
        gaps[name] = {
            **plain(interval),
            "by_seed": (values.mean(axis=1) - against.mean(axis=1)).tolist(),
            "better": interval.low > 0,
        }
    return gaps


def plain(interval: Interval) -> Result:
    """Return an interval as plain values."""
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def repeated(rows: Sequence[int], draws: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return row numbers, each as often as it was drawn."""
    return np.repeat(np.asarray(rows, np.int64), np.asarray(draws, np.int64))
