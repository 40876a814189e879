"""Controls: what a selection has to beat at the same budget, drawn by uid hash."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from winnow.algorithms.prune.prototypes import uniform_counts
from winnow.config.steps import RandomConfig, UniformConfig
from winnow.steps.cluster_ranks import rank_in_clusters, uniform
from winnow.steps.selection import Words, budget_rows, keep_best, keep_quotas
from winnow.steps.step import Context, Contract, Outcome, decisions_of

_SCORED = pa.schema([("uid", pa.string()), ("score", pa.float64())])


def random_contract(config: RandomConfig) -> Contract:
    """Return that nothing but the seed matters."""
    return Contract(depends_on=frozenset({"seed"}))


def random_run(context: Context) -> Outcome:
    """Keep rows drawn by uid hash."""
    engine = context.engine
    count = budget_rows(context, context.config)
    kernel = partial(draw, salt=f"{context.seed}:{context.step}")
    scored = engine.map_batches(context.samples, kernel, _SCORED)
    words = Words("drawn", "not_drawn")
    decided = keep_best(engine, scored, count, descending=False, words=words)
    return Outcome(decisions_of(engine, decided), facts={"budget": count})


def uniform_contract(config: UniformConfig) -> Contract:
    """Return that clusters come in."""
    return Contract(needs=frozenset({"clusters"}), depends_on=frozenset({"seed"}))


def uniform_run(context: Context) -> Outcome:
    """Keep the same number of every cluster, drawn by uid hash."""
    engine = context.engine
    count = budget_rows(context, context.config)
    ranked, statistics = rank_in_clusters(context, "random")
    quotas = uniform_counts(statistics["size"].to_numpy(), count)
    words = Words("drawn", "not_drawn")
    decided = keep_quotas(engine, ranked, statistics["cluster"], quotas, words)
    return Outcome(decisions_of(engine, decided), facts={"budget": count})


def draw(batches: Iterator[pa.RecordBatch], *, salt: str) -> Iterator[pa.RecordBatch]:
    """Yield a uniform number for each row, by uid hash."""
    for batch in batches:
        numbers = uniform(batch.column("uid").to_pylist(), salt)
        yield pa.RecordBatch.from_arrays(
            [batch.column("uid"), pa.array(numbers)], schema=_SCORED
        )
