"""Which pictures are poor, by CleanVision's scores of what is measured on each.

Formulas and thresholds are those of CleanVision 0.3.7 (cleanlab; class
`ImagePropertyIssueManager`): scores lie in 0 to 1, and a score below its threshold is
an issue. Measures are made by `winnow.models.image_measures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Issues in the order in which CleanVision names them.
ISSUES = (
    "dark",
    "light",
    "odd_aspect_ratio",
    "low_information",
    "blurry",
    "grayscale",
    "odd_size",
)
_ENTROPY_FACTOR = 0.1
_BLUR_FACTOR = 0.01


class Measures(NamedTuple):
    """What is measured on n pictures, (n,) float64 each.

    brightest, darkest: the 99th and the 5th percentile of their pixels' brightness, 0
    to 1. aspect: shorter side over longer. entropy: bits. edges: standard deviation of
    the edges' strength. spread: standard deviation of the grey histogram. size: root of
    the number of pixels. grey: 1 where one channel is stored.
    """

    brightest: Floats
    darkest: Floats
    aspect: Floats
    entropy: Floats
    edges: Floats
    spread: Floats
    size: Floats
    grey: Floats


class SizeBounds(NamedTuple):
    """The middle of a pool's sizes, how far its bounds are apart, and the threshold."""

    middle: float
    gap: float
    threshold: float


def size_bounds(lower: float, upper: float, factor: float) -> SizeBounds:
    """Return which sizes are odd: beyond `factor` times the interquartile range.

    lower, upper: the first and third quartile of all sizes. Where these are equal,
    every other size is odd.
    """
    spread = upper - lower
    low, high = lower - factor * spread, upper + factor * spread
    middle, gap = (low + high) / 2, high - low
    return SizeBounds(middle, gap, 0.5) if gap else SizeBounds(middle, middle, 1.0)


def quality_scores(
    measures: Measures, bounds: SizeBounds, flat: float
) -> dict[str, Floats]:
    """Return the score of each issue, (n,), 1 for a picture without any of it.

    flat: a picture whose grey histogram is less spread than this gets no credit for its
    spread when its blur is scored (CleanVision's `color_threshold`).
    """
    spread = 1 - np.exp(-1 * measures.spread * _BLUR_FACTOR)
    spread[spread <= flat] = 0
    sharp = 1 - np.exp(-1 * measures.edges * _BLUR_FACTOR)
    distance = np.abs(measures.size - bounds.middle) / bounds.gap
    return {
        "dark": measures.brightest,
        "light": 1 - measures.darkest,
        "odd_aspect_ratio": measures.aspect,
        "low_information": np.minimum(_ENTROPY_FACTOR * measures.entropy, 1),
        "blurry": np.minimum(sharp + spread, 1),
        "grayscale": 1 - measures.grey,
        "odd_size": 1 - np.clip(distance, 0, 1),
    }


def first_issue(
    scores: Mapping[str, Floats],
    thresholds: Mapping[str, float],
    issues: Sequence[str],
) -> tuple[npt.NDArray[np.object_], Floats, Floats]:
    """Return each picture's first issue in the order given, its score and threshold.

    None and NaN, (n,) each, where a picture has none of them.
    """
    rows = len(next(iter(scores.values())))
    issue = np.full(rows, None, object)
    score, threshold = np.full(rows, np.nan), np.full(rows, np.nan)
    for name in reversed(issues):
        poor = scores[name] < thresholds[name]
        issue[poor], score[poor] = name, scores[name][poor]
        threshold[poor] = thresholds[name]
    return issue, score, threshold
