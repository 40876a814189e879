"""A greedy order of a pool, of which every budget is a beginning.

Rows represent those of their own cluster alone (`scope: cluster`). What one cluster's
rows add is then nothing to another's, so that the greedy order of all rows is that of
the clusters merged by what each row added, and no worker holds more than a cluster.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pyarrow as pa

from winnow.algorithms.prune.greedy_order import facility_location, farthest_first
from winnow.config.balance_steps import OrderConfig
from winnow.core.engine import Frame
from winnow.core.hashing import keys
from winnow.core.vectors import to_matrix
from winnow.steps.clustered import clustered
from winnow.steps.contract import Context, Contract, Outcome, Reuse, decisions_of
from winnow.steps.score_terms import SCORED
from winnow.steps.selection import Cut, Words, budget_rows, keep_best

#: A pool that is ordered as one: rows that are weighed grow with its square and more.
_WHOLE_ROWS = 5_000


def contract(config: OrderConfig) -> Contract:
    """Return that vectors come in, and clusters where rows stand for those of one."""
    clusters = {"clusters"} if config.scope == "cluster" else set[str]()
    return Contract(
        needs=frozenset({f"{config.modality}_vectors", *clusters}),
        depends_on=frozenset({"seed"}),
    )


def reuse(config: OrderConfig) -> Reuse:
    """Return what an order depends on: not how much of it is kept."""
    return Reuse([config.by, config.scope, config.modality], same_rows=True)


def run(context: Context) -> Outcome:
    """Order all rows, store what each added, and keep the beginning."""
    engine, config = context.engine, context.config
    count = budget_rows(context, config)
    known = context.reusable / "order" if context.reusable else None
    ordered = engine.scan(os.fspath(known)) if known else _ordered(context)
    folder = os.fspath(context.folder / "order")
    engine.write(ordered, folder, ["uid"])
    decided = keep_best(
        engine,
        engine.scan(folder),
        Cut(count),
        descending=True,
        words=Words("chosen", "not_chosen"),
    )
    return Outcome(
        decisions_of(engine, decided),
        artifacts={"order": "order"},
        facts={"budget": count, "order_reused": known is not None},
    )


def _ordered(context: Context) -> Frame:
    """Return (uid, score) of all rows: what each added to those before it."""
    engine = context.engine
    kernel = partial(
        order_cluster, by=context.config.by, salt=f"{context.seed}:{context.step}"
    )
    grouped = clustered(context, context.config.scope, _WHOLE_ROWS)
    return engine.map_groups(grouped, "cluster", kernel, SCORED)


def order_cluster(rows: pa.Table, *, by: str, salt: str) -> pa.Table:
    """Return (uid, score) of one cluster's rows; equal ones go by uid."""
    rows = rows.sort_by("uid")
    uids, vectors = rows["uid"].combine_chunks(), to_matrix(rows["vector"])
    if by == "facility_location":
        order, scores = facility_location(vectors, len(vectors))
    else:
        first = int(keys(uids.to_pylist(), salt).argmin())
        order, scores = farthest_first(vectors, first, len(vectors))
    columns = [uids.take(pa.array(order)), pa.array(np.asarray(scores, np.float64))]
    return pa.Table.from_arrays(
        [pa.chunked_array([column]) for column in columns], schema=SCORED
    )
