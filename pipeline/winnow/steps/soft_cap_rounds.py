"""Soft-Cap Sampling in rounds, as published: draws without repetition, then penalties.

One pass and one exact cut for each round of `batch` draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.soft_cap import gumbel
from winnow.config.filter_steps import SoftCapConfig
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError
from winnow.core.hashing import keys
from winnow.steps.contract import Context
from winnow.steps.score_terms import SCORED

#: Each round is one pass over all rows.
MAX_ROUNDS = 2_000

_NOISED = pa.schema([*SCORED, ("count", pa.int64()), ("noised", pa.float64())])
_REPEATS = pa.schema([("uid", pa.string()), ("count", pa.int64())])


def draw_in_rounds(context: Context, scored: Frame, total: int) -> Frame:
    """Return (uid, count) after rounds of `batch` draws without replacement."""
    engine, config = context.engine, context.config
    rounds = -(-total // config.batch)
    if rounds > MAX_ROUNDS:
        raise ConfigError(
            f"{context.step}: {rounds} rounds of {config.batch} draws, each a pass "
            f"over all rows; raise batch to {-(-total // MAX_ROUNDS)}, or set it to "
            "1 to draw one by one in a single pass"
        )
    frame = engine.map_batches(scored, uncounted, _NOISED)
    last: Mapping[str, Any] | None = None
    for number in range(rounds):
        kernel = partial(
            next_round,
            config=config,
            salt=f"{context.seed}:{context.step}",
            number=number,
            last=last,
        )
        frame = engine.map_batches(frame, kernel, _NOISED)
        size = min(config.batch, total - number * config.batch)
        last = engine.cut(frame, [("noised", True), ("uid", False)], size)
        if last is None or last["noised"] is None:
            raise ConfigError(
                f"{context.step}: no row is left to draw in round {number + 1}; "
                "lower total, or penalty"
            )
    return engine.map_batches(frame, partial(counted, last=last), _REPEATS)


def logits_of(batch: pa.RecordBatch, config: SoftCapConfig) -> npt.NDArray[np.float64]:
    """Return the logits of a batch that has a score in every row."""
    return np.asarray(batch.column("score").to_numpy() / config.temperature)


def uncounted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Append that no row has been drawn."""
    for batch in batches:
        yield pa.RecordBatch.from_arrays(
            [
                *batch.columns,
                pa.array(np.zeros(len(batch), np.int64)),
                pa.nulls(len(batch), pa.float64()),
            ],
            schema=_NOISED,
        )


def next_round(
    batches: Iterator[pa.RecordBatch],
    *,
    config: SoftCapConfig,
    salt: str,
    number: int,
    last: Mapping[str, Any] | None,
) -> Iterator[pa.RecordBatch]:
    """Count the round before, whose last row is `last`, and draw new noise."""
    for batch in batches:
        count = _count(batch, last)
        # Not infinity times zero: what was never drawn loses nothing.
        lost = np.zeros(len(count))
        lost[count > 0] = config.penalty * count[count > 0]
        noise = gumbel(keys(batch.column("uid").to_pylist(), salt), number)
        noised = logits_of(batch, config) - lost + noise
        noised[np.isinf(noised)] = np.nan
        if config.limit is not None:
            noised[count >= config.limit] = np.nan
        yield pa.RecordBatch.from_arrays(
            [
                batch.column("uid"),
                batch.column("score"),
                pa.array(count),
                pa.array(
                    np.where(np.isfinite(noised), noised, np.nan), from_pandas=True
                ),
            ],
            schema=_NOISED,
        )


def counted(
    batches: Iterator[pa.RecordBatch], *, last: Mapping[str, Any] | None
) -> Iterator[pa.RecordBatch]:
    """Yield (uid, count) of the rows that were drawn."""
    for batch in batches:
        count = pa.array(_count(batch, last))
        counted = pa.RecordBatch.from_arrays(
            [batch.column("uid"), count], schema=_REPEATS
        )
        yield counted.filter(pc.greater(count, 0))


def _count(
    batch: pa.RecordBatch, last: Mapping[str, Any] | None
) -> npt.NDArray[np.int64]:
    before = batch.column("count").to_numpy()
    if last is None:
        return np.asarray(before)
    noised = batch.column("noised")
    tie = pc.and_(
        pc.equal(noised, last["noised"]),
        pc.less_equal(batch.column("uid"), last["uid"]),
    )
    drawn = pc.fill_null(pc.or_(pc.greater(noised, last["noised"]), tie), False)
    return np.asarray(before + drawn.to_numpy(zero_copy_only=False))
