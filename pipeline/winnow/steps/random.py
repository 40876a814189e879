"""Control: what a selection has to beat at the same budget, drawn by uid hash."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from winnow.config.steps import RandomConfig
from winnow.steps.cluster_ranks import uniform
from winnow.steps.contract import Context, Contract, Outcome, decisions_of
from winnow.steps.selection import Cut, Words, budget_rows, keep_best

_SCORED = pa.schema([("uid", pa.string()), ("score", pa.float64())])


def contract(config: RandomConfig) -> Contract:
    """Return that nothing but the seed matters."""
    return Contract(depends_on=frozenset({"seed"}))


def run(context: Context) -> Outcome:
    """Keep rows drawn by uid hash."""
    engine = context.engine
    count = budget_rows(context, context.config)
    kernel = partial(draw, salt=f"{context.seed}:{context.step}")
    scored = engine.map_batches(context.samples, kernel, _SCORED)
    words = Words("drawn", "not_drawn")
    decided = keep_best(engine, scored, Cut(count), descending=False, words=words)
    return Outcome(decisions_of(engine, decided), facts={"budget": count})


def draw(batches: Iterator[pa.RecordBatch], *, salt: str) -> Iterator[pa.RecordBatch]:
    """Yield a uniform number for each row, by uid hash."""
    for batch in batches:
        numbers = uniform(batch.column("uid").to_pylist(), salt)
        yield pa.RecordBatch.from_arrays(
            [batch.column("uid"), pa.array(numbers)], schema=_SCORED
        )
