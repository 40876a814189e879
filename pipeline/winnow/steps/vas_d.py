"""VAS-D: the variance to align with is that of the images that are left.

Wang et al. 2024 (arXiv 2402.02055): from the pool to the budget in rounds of equal
size, each of which drops the images with the least Variance Alignment Score against the
covariance of those that entered it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.norm_sim import variance_alignment
from winnow.config.filter_steps import ScoreTerm, VasDOptions
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError
from winnow.core.vectors import to_matrix
from winnow.steps.contract import Context
from winnow.steps.score_terms import SCORED, Scored
from winnow.steps.selection import budget_rows

#: Numbers of vectors are rounded to multiples of its inverse, so that sums of products
#: are integers below 2⁵³ and the same in any order.
_SCALE = 2**15
_ROWS_AT_ONCE = 1 << 20
_GRAM = pa.schema([("gram", pa.list_(pa.int64()))])
_MOST_PARTS = 1_000_000


def vas_d(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score by the rounds that an image survives, then by its last variance alignment.

    A score of 3.4 says: it survived 3 rounds, and scored .4 in the next. The step's own
    budget is where the rounds lead. Raises ConfigError without a budget.
    """
    engine, config = context.engine, context.config
    if not config.has_budget:
        raise ConfigError(
            f"{context.step}: vas_d leads to a budget; give keep_fraction or keep_count"
        )
    rounds = VasDOptions.model_validate(term.options).rounds
    images = engine.select(pairs, {"uid": "uid", "image": "image"})
    rows, least = engine.count(images), budget_rows(context, config)
    scores: list[Frame] = []
    for number in range(rounds):
        left = rows_left(rows, least, number + 1, rounds)
        scored = _scored_round(context, images, number)
        if number + 1 == rounds:
            scores.append(scored)
            break
        last = engine.cut(scored, [("score", True), ("uid", False)], left)
        part = partial(survivors, last=last, any_left=left > 0)
        stayed = engine.select(engine.map_batches(scored, part, SCORED), {"uid": "uid"})
        scores.append(engine.join(scored, stayed, "uid", "anti"))
        images = engine.join(images, stayed, "uid", "semi")
    return Scored(engine.union(scores), {"rounds": rounds})


def rows_left(rows: int, least: int, number: int, rounds: int) -> int:
    """Return how many of `rows` are left after `number` of `rounds` down to `least`."""
    return rows - (rows - min(least, rows)) * number // rounds


def _scored_round(context: Context, images: Frame, number: int) -> Frame:
    """Write and return (uid, score) of the images that are left in a round."""
    engine = context.engine
    parts = engine.collect(
        engine.map_batches(images, sum_products, _GRAM), _MOST_PARTS
    )["gram"].to_pylist()
    count = engine.count(images)
    dim = engine.schema(images).field("image").type.list_size
    total = np.zeros(dim * dim, np.int64)
    for part in parts:
        total += np.asarray(part, np.int64)
    gram = total.reshape(dim, dim) / float(_SCALE) ** 2
    kernel = partial(score_round, gram=gram, count=max(count, 1), number=number)
    folder = os.fspath(context.folder / f"round-{number:03d}")
    engine.write(engine.map_batches(images, kernel, SCORED), folder, ["uid"])
    return engine.scan(folder)


def sum_products(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the sum of x xᵀ over all rows, in integers."""
    total: npt.NDArray[np.int64] | None = None
    for batch in batches:
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            rows = to_matrix(batch.column("image").slice(start, _ROWS_AT_ONCE))
            whole = np.rint(rows.astype(np.float64) * _SCALE)
            products = (whole.T @ whole).astype(np.int64)
            total = products if total is None else total + products
    if total is not None:
        yield pa.RecordBatch.from_arrays(
            [pa.array([total.reshape(-1)], pa.list_(pa.int64()))], schema=_GRAM
        )


def score_round(
    batches: Iterator[pa.RecordBatch],
    *,
    gram: npt.NDArray[np.float64],
    count: int,
    number: int,
) -> Iterator[pa.RecordBatch]:
    """Yield the round's number plus the score in it, which is below 1."""
    for batch in batches:
        values = variance_alignment(to_matrix(batch.column("image")), gram, count)
        scores = pa.array(number + np.minimum(values, 1 - 1e-9), pa.float64())
        yield pa.RecordBatch.from_arrays([batch.column("uid"), scores], schema=SCORED)


def survivors(
    batches: Iterator[pa.RecordBatch],
    *,
    last: Mapping[str, Any] | None,
    any_left: bool,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows up to `last` in the order (score, uid); all of them without it."""
    for batch in batches:
        if last is None:
            yield batch if any_left else batch.slice(0, 0)
            continue
        score, uid = batch.column("score"), batch.column("uid")
        tie = pc.and_(pc.equal(score, last["score"]), pc.less_equal(uid, last["uid"]))
        yield batch.filter(pc.or_(pc.greater(score, last["score"]), tie))
