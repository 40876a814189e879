"""Self-supervised prototypes: keep what is far from (or near to) its centroid."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.prune.prototypes import floor_counts
from winnow.config.steps import PrototypesConfig
from winnow.steps.cluster_ranks import rank_in_clusters
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
)
from winnow.steps.selection import Cut, Words, budget_rows, keep_best

_SCORED = pa.schema(
    [("uid", pa.string()), ("score", pa.float64()), ("reserved", pa.bool_())]
)


def contract(config: PrototypesConfig) -> Contract:
    """Return that clusters come in."""
    return Contract(needs=frozenset({"clusters"}))


def run(context: Context) -> Outcome:
    """Reserve each cluster's floor, then fill the budget by distance."""
    # 1. Rank rows within clusters; 2. the driver sets each cluster's floor;
    # 3. rows within the floor stay; 4. the others compete for what is left.
    engine, config = context.engine, context.config
    count = budget_rows(context, config)
    ranked, statistics = rank_in_clusters(context, config.keep)
    floors = floor_counts(
        statistics["size"].to_numpy(), count, config.balance.share, config.balance.of
    )
    table = pa.table({"cluster": statistics["cluster"], "floor": pa.array(floors)})
    limited = engine.join(ranked, engine.from_table(table), "cluster", "inner")
    scored = engine.map_batches(limited, mark_reserved, _SCORED)
    reserved = engine.map_batches(
        engine.where(scored, "reserved", True), judge_reserved, JUDGED
    )
    words = Words(f"prototype_{config.keep}", f"prototype_not_{config.keep}")
    others = keep_best(
        engine,
        engine.where(scored, "reserved", False),
        Cut(count - int(floors.sum())),
        descending=config.keep == "hard",
        words=words,
    )
    return Outcome(
        decisions_of(engine, engine.union([reserved, others])),
        facts={"budget": count, "reserved_by_balance": int(floors.sum())},
    )


def mark_reserved(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Mark the rows that their cluster keeps in any case."""
    for batch in batches:
        reserved = pc.less(batch.column("rank"), batch.column("floor"))
        yield pa.RecordBatch.from_arrays(
            [batch.column("uid"), batch.column("value"), reserved], schema=_SCORED
        )


def judge_reserved(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep rows for the balance between clusters."""
    for batch in batches:
        score = batch.column("score")
        yield judged(batch.column("uid"), True, "prototype_balance", score=score)
