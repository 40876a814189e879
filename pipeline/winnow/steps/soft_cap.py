"""Soft-Cap Sampling: an exact number of draws by score; a row may be drawn repeatedly.

Shechter & Carmon 2025 (arXiv 2503.08805). A row that was drawn is kept once, with one
row in the ledger; how often it was drawn stands in the artifact `repeats` and becomes
`repeats/` and repeated entries of `subset.npy` in the run's folder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.soft_cap import UNLIMITED, arrivals, expected_draws
from winnow.algorithms.prune.budget import exact_multiple
from winnow.config.filter_steps import SoftCapConfig
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError
from winnow.core.hashing import keys
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
)
from winnow.steps.score_terms import SCORED
from winnow.steps.selection import count_unscored
from winnow.steps.soft_cap_rounds import draw_in_rounds, logits_of

_DRAWS = pa.schema([("uid", pa.string()), ("draw", pa.int64()), ("time", pa.float64())])
_EXPECTED = pa.schema([("at", pa.int64()), ("draws", pa.float64())])

_GRID = 64
_MOST_BATCHES = 10_000_000


def contract(config: SoftCapConfig) -> Contract:
    """Return that scores come in and numbers of repetitions go out."""
    return Contract(
        needs=frozenset({"scores"}),
        provides=frozenset({"repeats"}),
        depends_on=frozenset({"seed"}),
    )


def run(context: Context) -> Outcome:
    """Draw, count, and keep whatever was drawn at least once."""
    engine, config = context.engine, context.config
    samples = engine.select(context.samples, {"uid": "uid"})
    scores = engine.select(context.scan("scores"), {"uid": "uid", "score": "score"})
    scored = engine.join(samples, scores, "uid", "left")
    unscored = count_unscored(engine, scored)
    total = _total(context, context.rows - unscored)
    draw = _race if config.batch == 1 else draw_in_rounds
    counts = draw(context, engine.map_batches(scored, with_score, SCORED), total)
    repeats = os.fspath(context.folder / "repeats")
    distinct = engine.write(counts, repeats, ["uid"])
    most = engine.aggregate(engine.scan(repeats), None, {"count": ("count", "max")})
    judgeable = engine.join(scored, engine.scan(repeats), "uid", "left")
    decided = engine.map_batches(judgeable, judge_draws, JUDGED)
    return Outcome(
        decisions_of(engine, decided),
        artifacts={"repeats": "repeats"},
        facts={
            "draws": total,
            "distinct": distinct,
            "most_repeats": engine.collect(most, 1)["count"][0].as_py(),
            "not_scored": unscored,
        },
    )


def _total(context: Context, scored: int) -> int:
    """Return how often to draw; raises ConfigError if that is impossible."""
    config: SoftCapConfig = context.config
    total = config.total
    if total is None:
        assert config.total_fraction is not None
        total = exact_multiple(context.rows, config.total_fraction)
    once = math.isinf(config.penalty)
    limit = 1 if once else config.limit
    if (limit is not None and total > limit * scored) or (total and not scored):
        why = " and an infinite penalty draws each once" if once else ""
        if not once and limit is not None:
            why = f" and limit draws each {limit} times at most"
        raise ConfigError(
            f"{context.step}: {total} draws, but {scored} rows have a score"
            + (why if scored else "")
            + "; lower total"
        )
    if min(config.batch, total) > scored:
        raise ConfigError(
            f"{context.step}: a batch of {config.batch} has no repetition, but only "
            f"{scored} rows have a score; lower batch"
        )
    return total


def _race(context: Context, scored: Frame, total: int) -> Frame:
    """Return (uid, count) of the first `total` draws of the race."""
    engine, config = context.engine, context.config
    until = math.inf if math.isinf(config.penalty) else _horizon(context, scored, total)
    further = 0.25
    while True:
        kernel = partial(
            emit_draws,
            config=config,
            salt=f"{context.seed}:{context.step}",
            until=until,
        )
        draws = engine.map_batches(scored, kernel, _DRAWS)
        order = [("time", False), ("uid", False), ("draw", False)]
        last = engine.cut(draws, order, total)
        if last is not None or total == 0:
            break
        until, further = until + further, 2 * further
    first = engine.map_batches(draws, partial(up_to, last=last), _DRAWS)
    return engine.aggregate(first, "uid", {"count": ("draw", "count")})


def _horizon(context: Context, scored: Frame, total: int) -> float:
    """Return a log-time up to which somewhat more than `total` draws arrive.

    Only a guess, for speed: which draws are the first does not depend on it.
    """
    engine, config = context.engine, context.config
    bounds = engine.aggregate(
        scored, None, {"least": ("score", "min"), "most": ("score", "max")}
    )
    (extremes,) = engine.collect(bounds, 1).to_pylist()
    if extremes["most"] is None:
        return 0.0
    wanted = total + 4 * math.sqrt(total) + 16
    top = extremes["most"] / config.temperature
    # By then the best row alone would have been drawn that often.
    penalty = config.penalty
    latest = penalty * wanted - math.log(penalty) if penalty else math.log(wanted)
    low = -top - 40.0
    high: float = -top + max(latest, 0.0) + 1.0
    while high - low > 0.05:
        grid = np.linspace(low, high, _GRID)
        kernel = partial(expect, config=config, grid=grid)
        parts = engine.map_batches(scored, kernel, _EXPECTED)
        table = engine.collect(parts, _MOST_BATCHES)
        draws = np.bincount(
            table["at"].to_numpy(), table["draws"].to_numpy(), minlength=_GRID
        )
        enough = int(np.argmax(draws >= wanted)) if (draws >= wanted).any() else -1
        if enough < 0:
            return high
        low, high = float(grid[max(enough - 1, 0)]), float(grid[enough])
    return high


def _limit(config: SoftCapConfig) -> int:
    return UNLIMITED if config.limit is None else config.limit


def with_score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep the rows that have a score."""
    for batch in batches:
        yield batch.filter(pc.is_valid(batch.column("score")))


def expect(
    batches: Iterator[pa.RecordBatch],
    *,
    config: SoftCapConfig,
    grid: npt.NDArray[np.float64],
) -> Iterator[pa.RecordBatch]:
    """Yield about how many draws of a batch arrive up to each time of the grid."""
    for batch in batches:
        logits = logits_of(batch, config)
        draws = [
            expected_draws(logits, config.penalty, float(moment), _limit(config))
            for moment in grid
        ]
        yield pa.RecordBatch.from_arrays(
            [pa.array(np.arange(len(grid))), pa.array(draws, pa.float64())],
            schema=_EXPECTED,
        )


def emit_draws(
    batches: Iterator[pa.RecordBatch],
    *,
    config: SoftCapConfig,
    salt: str,
    until: float,
) -> Iterator[pa.RecordBatch]:
    """Yield every draw of the race that arrives up to `until`."""
    for batch in batches:
        uid_keys = keys(batch.column("uid").to_pylist(), salt)
        rows, number, time = arrivals(
            logits_of(batch, config), uid_keys, config.penalty, until, _limit(config)
        )
        uids = batch.column("uid").take(pa.array(rows))
        yield pa.RecordBatch.from_arrays(
            [uids, pa.array(number), pa.array(time)], schema=_DRAWS
        )


def up_to(
    batches: Iterator[pa.RecordBatch], *, last: Mapping[str, Any] | None
) -> Iterator[pa.RecordBatch]:
    """Keep the draws up to and including `last` in the order (time, uid, draw)."""
    for batch in batches:
        if last is None:
            yield batch.slice(0, 0)
            continue
        time, uid = batch.column("time"), batch.column("uid")
        same = pc.equal(time, last["time"])
        same_row = pc.and_(same, pc.equal(uid, last["uid"]))
        keep = pc.or_(
            pc.or_(
                pc.less(time, last["time"]), pc.and_(same, pc.less(uid, last["uid"]))
            ),
            pc.and_(same_row, pc.less_equal(batch.column("draw"), last["draw"])),
        )
        yield batch.filter(keep)


def judge_draws(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep the rows that were drawn."""
    for batch in batches:
        score, keep = batch.column("score"), pc.is_valid(batch.column("count"))
        reason = pc.if_else(keep, "drawn", "not_drawn")
        reason = pc.if_else(pc.is_valid(score), reason, "score_missing")
        yield judged(batch.column("uid"), keep=keep, reason=reason, score=score)
