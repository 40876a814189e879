"""Exact selections, engine by engine the same: the best rows, and quotas by cluster.

Scores arrive as frames of (uid, score); a null score is never kept. Ties break on uid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.prune.budget import budget_count
from winnow.config.section import Budget
from winnow.core.engine import Engine, Frame
from winnow.core.errors import ConfigError
from winnow.steps.cluster_ranks import RANKED
from winnow.steps.contract import JUDGED, Context, judged


@dataclass(frozen=True)
class Words:
    """The reasons that a selection gives."""

    kept: str
    dropped: str
    unscored: str = "score_missing"


def budget_rows(context: Context, budget: Budget) -> int:
    """Return the exact number of rows that a budget keeps.

    Raises ConfigError if it asks for more rows than enter the step.
    """
    pool = context.rows if budget.of == "entering" else context.pool_rows
    try:
        wanted = budget_count(
            pool, fraction=budget.keep_fraction, count=budget.keep_count
        )
    except ValueError as error:
        raise ConfigError(f"{context.step}: {error}") from error
    if wanted > context.rows:
        raise ConfigError(
            f"{context.step}: the budget is {wanted} rows, but {context.rows} enter "
            "this step; lower it, or prune less before"
        )
    return wanted


@dataclass(frozen=True)
class Cut:
    """How far a selection goes: the best `count` rows, and those within `bound`.

    None: no such cut. ties `keep`: all rows that score no less than the row after
    these `count`; `uid`: exactly as many, equal scores by uid.
    """

    count: int | None
    bound: float | None = None
    ties: Literal["uid", "keep"] = "uid"

    @property
    def place(self) -> int | None:
        """The place, from 1 on, of the last row that is kept."""
        return self.count if self.count is None else self.count + (self.ties == "keep")


def keep_best(
    engine: Engine, scored: Frame, cut: Cut, *, descending: bool, words: Words
) -> Frame:
    """Return JUDGED rows of a (uid, score) frame."""
    last: Mapping[str, Any] | None = None
    if cut.place:
        by = [("score", descending), ("uid", False)]
        last = engine.cut(scored, by, cut.place)
        if last is not None and last["score"] is None:
            # Fewer rows have a score than the budget allows: all of them stay.
            last, cut = None, replace(cut, count=None)
    kernel = partial(
        judge_by_score,
        last=dict(last) if last else None,
        cut=cut,
        descending=descending,
        words=words,
    )
    return engine.map_batches(scored, kernel, JUDGED)


def judge_by_score(
    batches: Iterator[pa.RecordBatch],
    *,
    last: Mapping[str, Any] | None,
    cut: Cut,
    descending: bool,
    words: Words,
) -> Iterator[pa.RecordBatch]:
    """Keep rows up to `last` in the order (score, uid), and within the bound."""
    bound, none = cut.bound, cut.place == 0
    better = pc.greater if descending else pc.less
    for batch in batches:
        uid, score = batch.column("uid"), batch.column("score")
        keep = pa.array([not none] * len(batch))
        if last is not None:
            tie = pc.equal(score, last["score"])
            if cut.ties == "uid":
                tie = pc.and_(tie, pc.less_equal(uid, last["uid"]))
            keep = pc.or_(better(score, last["score"]), tie)
        if bound is not None:
            keep = pc.and_(keep, pc.or_(better(score, bound), pc.equal(score, bound)))
        known = pc.is_valid(score)
        keep = pc.and_(pc.fill_null(keep, False), known)
        reason = pc.if_else(
            known, pc.if_else(keep, words.kept, words.dropped), words.unscored
        )
        bounds = [b for b in (last["score"] if last else None, bound) if b is not None]
        strictest = (max if descending else min)(bounds) if bounds else None
        yield judged(uid, keep=keep, reason=reason, score=score, threshold=strictest)


def count_unscored(engine: Engine, scored: Frame) -> int:
    """Return how many rows of a (uid, score) frame have no score."""
    schema = engine.schema(scored)
    return engine.count(engine.map_batches(scored, without_score, schema))


def without_score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep the rows that have no score."""
    for batch in batches:
        yield batch.filter(pc.is_null(batch.column("score")))


def keep_quotas(
    engine: Engine,
    ranked: Frame,
    clusters: pa.ChunkedArray,
    quotas: npt.NDArray[np.int64],
    words: Words,
) -> Frame:
    """Return JUDGED rows: of each cluster the first `quota` rows.

    The threshold is the value of the cluster's last kept row.
    """
    table = pa.table({"cluster": clusters, "quota": pa.array(quotas)})
    limited = engine.join(ranked, engine.from_table(table), "cluster", "inner")
    marked = engine.map_batches(
        limited, mark_last, pa.schema([*RANKED, ("quota", pa.int64()), LAST])
    )
    lasts = engine.select(
        engine.where(marked, "last", True), {"cluster": "cluster", "cut": "value"}
    )
    judgeable = engine.join(marked, lasts, "cluster", "left")
    return engine.map_batches(judgeable, partial(judge_by_rank, words=words), JUDGED)


LAST = pa.field("last", pa.bool_())


def mark_last(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Mark the last row within each cluster's quota."""
    for batch in batches:
        last = pc.equal(pc.add(batch.column("rank"), 1), batch.column("quota"))
        yield batch.append_column(LAST, last)


def judge_by_rank(
    batches: Iterator[pa.RecordBatch], *, words: Words
) -> Iterator[pa.RecordBatch]:
    """Keep the rows whose rank lies below the quota."""
    for batch in batches:
        keep = pc.less(batch.column("rank"), batch.column("quota"))
        yield judged(
            batch.column("uid"),
            keep=keep,
            reason=pc.if_else(keep, words.kept, words.dropped),
            score=batch.column("value"),
            threshold=batch.column("cut"),
        )
