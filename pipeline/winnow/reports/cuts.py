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
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

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

    @cached_property
    def order(self) -> Ids:
        """The rows with a score, lowest first; equal scores by row."""
        rows = np.flatnonzero(~np.isnan(self.scores))
        return rows[np.argsort(self.scores[rows], kind="stable")]

    @cached_property
    def ordered(self) -> Floats:
        """The scores in that order."""
        return self.scores[self.order]

    def passing(self, cut: float) -> range:
        """Return which places of `order` a threshold lets pass."""
        side: Literal["left", "right"] = "left" if self.rule in (">=", "<") else "right"
        edge = int(np.searchsorted(self.ordered, cut, side))
        if self.rule.startswith(">"):
            return range(edge, len(self.order))
        return range(edge)

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest finite score."""
        finite = self.ordered[np.isfinite(self.ordered)]
        return float(finite[0]), float(finite[-1])

    def bars(self) -> list[tuple[float, float, int]]:
        """Return a histogram of the finite scores: from, to, rows."""
        known = self.ordered[np.isfinite(self.ordered)]
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
    scored = ~np.isnan(scores)
    kept = scored & ~dropped
    best: tuple[int, str] | None = None
    for name, rule in RULES.items():
        with np.errstate(invalid="ignore"):
            wrong = scored & (rule(scores, cut) != kept)
        if not (wrong & (scores != cut)).any():
            count = int(wrong.sum())
            if best is None or count < best[0]:
                best = count, name
    if best is None or not np.isfinite(scores).any():
        return None
    return StepScores(scores, cut, best[1], not kept.any())


@dataclass(frozen=True)
class CutAnswer:
    """What another threshold does to one step.

    kept, kept_then: rows with a score that pass, now and then. gained, lost: places in
    `StepScores.order` of the rows that change sides. lost_at_end: of those lost, how
    many the run keeps to its end.
    """

    cut: float
    kept: int
    kept_then: int
    gained: range
    lost: range
    lost_at_end: int


def kept_before(step: StepScores, kept_at_end: Mask) -> Ids:
    """Return, for each place of the order and its end, how many before it are kept.

    kept_at_end: (n,), the rows that the run keeps.
    """
    return np.concatenate([[0], np.cumsum(kept_at_end[step.order])])


def answer(step: StepScores, cut: float, before: Ids) -> CutAnswer:
    """Return what a threshold does; before: what `kept_before` returns."""
    now, then = step.passing(step.cut), step.passing(cut)
    lost = _without(now, then)
    return CutAnswer(
        cut=cut,
        kept=len(now),
        kept_then=len(then),
        gained=_without(then, now),
        lost=lost,
        lost_at_end=int(before[lost.stop] - before[lost.start]),
    )


def _without(some: range, others: range) -> range:
    """Return the places of one side of a threshold that are not beyond another one."""
    if some.start < others.start:
        return range(some.start, min(some.stop, others.start))
    return range(max(some.start, min(others.stop, some.stop)), some.stop)


def nearest_to(step: StepScores, places: range, most: int) -> list[int]:
    """Return the rows whose scores lie nearest to the threshold of today, in order.

    places: of `StepScores.order`, all on one side of the threshold.
    """
    if not places:
        return []
    scores = step.ordered[places.start : places.stop]
    if abs(scores[0] - step.cut) <= abs(scores[-1] - step.cut):
        chosen = np.arange(min(most, len(places)))
    else:
        # Of the rows that score as the last one to be shown, the first ones.
        last = scores[max(len(scores) - most, 0)]
        tie, above = (
            np.searchsorted(scores, last, "left"),
            np.searchsorted(scores, last, "right"),
        )
        rest = most - (len(scores) - above)
        chosen = np.r_[tie : min(tie + rest, above), above : len(scores)]
    rows = step.order[places.start + chosen]
    away = np.abs(scores[chosen] - step.cut)
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
    """Rows of each value of a column, with a score and of these kept, as it is now.

    codes: which value each place of `StepScores.order` has, from 1 on; 0 for none.
    """

    codes: Codes
    rows: Ids
    kept: Ids


def share_counts(step: StepScores, codes: Codes, count: int) -> ShareCounts:
    """Return what `shares` starts from.

    codes: (n,), which of the values a row has, -1 for none. count: how many values.
    """
    ordered = codes[step.order] + np.int32(1)
    now = step.passing(step.cut)
    return ShareCounts(
        ordered,
        _counted(ordered, range(len(ordered)), count),
        _counted(ordered, now, count),
    )


def _counted(codes: Codes, places: range, count: int) -> Ids:
    part = codes[places.start : places.stop]
    return np.bincount(part, minlength=count + 1)[1:]


def shares(
    now: ShareCounts, told: CutAnswer, values: list[object], most: int
) -> list[ShareChange]:
    """Return the shares of at most so many values of a column, the most changed first.

    Counts only the rows that change sides. values: what the codes stand for.
    """
    gained, lost = (
        _counted(now.codes, places, len(values)) for places in (told.gained, told.lost)
    )
    change = gained - lost
    # The most changed first; of equal ones that with more rows.
    weight = np.abs(change) * (int(now.rows.max(initial=0)) + 1) + now.rows
    return [
        ShareChange(
            values[i], int(now.rows[i]), int(now.kept[i]), int(now.kept[i] + change[i])
        )
        for i in _largest(weight, most)
        if now.rows[i]
    ]


def _largest(weight: Ids, most: int) -> Ids:
    """Return the places of the largest weights, in order; of equal ones the first."""
    if len(weight) > most:
        least = np.partition(weight, -most)[-most]
        above, level = np.flatnonzero(weight > least), np.flatnonzero(weight == least)
        chosen = np.concatenate([above, level[: most - len(above)]])
    else:
        chosen = np.arange(len(weight))
    return chosen[np.lexsort((chosen, -weight[chosen]))]
