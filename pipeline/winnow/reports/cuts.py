"""What another threshold of one step would keep, counted from the stored scores.

What `what-if` decides again, step by step, is counted here at once, for a slider. It is
the same where a row's decision follows from its own score (`Shown.alone`), for the step
itself; where rows decide about each other, it is an estimate. What later steps make of
rows that go on is not counted: of those the run has no decision.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

#: How a score is compared with the threshold, where a row is kept.
RULES: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_BARS = 60


@dataclass(frozen=True)
class StepScores:
    """One step's scores of all rows, and the one threshold that decided.

    scores: (n,) float64; NaN for a row without one. cut: the threshold. rule: a key of
    RULES. one_sided: whether only rows that went have a score.
    """

    scores: Floats
    cut: float
    rule: str
    one_sided: bool

    def passing(self, cut: float) -> Mask:
        """Return which rows a threshold lets pass; a row without a score does not."""
        with np.errstate(invalid="ignore"):
            passing: Mask = RULES[self.rule](self.scores, cut)
        return passing

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        return float(np.nanmin(self.scores)), float(np.nanmax(self.scores))

    def bars(self) -> list[tuple[float, float, int]]:
        """Return a histogram: from, to, rows."""
        known = self.scores[np.isfinite(self.scores)]
        low, high = self.span
        counts, edges = np.histogram(known, _BARS, (low, max(high, low + 1e-12)))
        ends = zip(edges[:-1], edges[1:], counts, strict=True)
        return [(float(low), float(high), int(rows)) for low, high, rows in ends]


def step_scores(scores: Floats, dropped: Mask, cut: float) -> StepScores | None:
    """Return a step's scores with the rule that reproduces what it decided.

    scores: (n,), NaN for rows that the step did not score. dropped: (n,), those that it
    dropped. cut: its threshold. None if no rule on one threshold says what it did, but
    for rows whose score is the threshold itself (a budget cuts between equal scores).
    """
    scored = np.isfinite(scores)
    kept = scored & ~dropped
    best: tuple[int, str] | None = None
    for name, rule in RULES.items():
        with np.errstate(invalid="ignore"):
            wrong = scored & (rule(scores, cut) != kept)
        if not (wrong & (scores != cut)).any():
            count = int(wrong.sum())
            if best is None or count < best[0]:
                best = count, name
    if best is None or not scored.any():
        return None
    return StepScores(scores, cut, best[1], not kept.any())


@dataclass(frozen=True)
class CutAnswer:
    """What another threshold does to one step.

    kept, kept_then: rows with a score that pass, now and then. gained, lost: numbers of
    the rows that change sides. lost_at_end: of those lost, how many the run keeps to
    its end.
    """

    cut: float
    kept: int
    kept_then: int
    gained: Ids
    lost: Ids
    lost_at_end: int


def answer(step: StepScores, cut: float, kept_at_end: Mask) -> CutAnswer:
    """Return what a threshold does; kept_at_end: (n,), the rows that the run keeps."""
    now, then = step.passing(step.cut), step.passing(cut)
    gained, lost = np.flatnonzero(then & ~now), np.flatnonzero(now & ~then)
    return CutAnswer(
        cut=cut,
        kept=int(now.sum()),
        kept_then=int(then.sum()),
        gained=gained,
        lost=lost,
        lost_at_end=int(kept_at_end[lost].sum()),
    )


def nearest_to(step: StepScores, rows: Ids, most: int) -> list[int]:
    """Return the rows whose scores lie nearest to the threshold of today, in order."""
    away = np.abs(step.scores[rows] - step.cut)
    if len(rows) > most:
        near = np.argpartition(away, most)[:most]
        rows, away = rows[near], away[near]
    return [int(row) for row in rows[np.lexsort((rows, away))]]


@dataclass(frozen=True)
class ShareChange:
    """How many rows of one value pass, now and then, of how many with a score."""

    value: object
    rows: int
    kept: int
    kept_then: int


@dataclass(frozen=True)
class ShareCounts:
    """Rows of each value of a column, with a score and of these kept, as it is now."""

    rows: Ids
    kept: Ids


def share_counts(
    step: StepScores, codes: npt.NDArray[np.int32], count: int
) -> ShareCounts:
    """Return what `shares` starts from; codes as there, count: how many values."""
    scored = np.isfinite(step.scores) & (codes >= 0)
    kept = scored & step.passing(step.cut)
    return ShareCounts(
        np.bincount(codes[scored], minlength=count),
        np.bincount(codes[kept], minlength=count),
    )


def shares(
    now: ShareCounts,
    told: CutAnswer,
    codes: npt.NDArray[np.int32],
    values: list[object],
    most: int,
) -> list[ShareChange]:
    """Return the shares of at most so many values of a column, the most changed first.

    Counts only the rows that change sides. codes: (n,), which of the values a row has,
    -1 for none. values: what they are.
    """
    # Shifted by one, so that rows without a value are counted, too, and left out.
    more, less = (
        np.bincount(codes[rows] + 1, minlength=len(values) + 1)[1:]
        for rows in (told.gained, told.lost)
    )
    change = more - less
    order = np.lexsort((np.arange(len(values)), -now.rows, -np.abs(change)))
    return [
        ShareChange(
            values[i], int(now.rows[i]), int(now.kept[i]), int(now.kept[i] + change[i])
        )
        for i in order[:most]
        if now.rows[i]
    ]
