"""Rows that are least like their nearest neighbours: outliers of a pool.

The mean cosine to the k nearest other rows: one minus the mean distance, by which
cleanlab ranks outliers (Kuan & Mueller 2022, arXiv 2207.03061, k = 10).
"""

from __future__ import annotations

import os
from functools import partial

import pyarrow as pa

from winnow.algorithms.whole_numbers import mean_of_nearest
from winnow.config.balance_steps import OutliersConfig
from winnow.core.vectors import to_matrix
from winnow.steps.clustered import clustered
from winnow.steps.contract import Context, Contract, Outcome, Reuse, decisions_of
from winnow.steps.score_terms import SCORED
from winnow.steps.selection import Cut, Words, budget_rows, count_unscored, keep_best

#: A pool that is compared as one: products grow with the square of its rows.
WHOLE_ROWS = 20_000


def contract(config: OutliersConfig) -> Contract:
    """Return that vectors come in, and clusters where neighbours are of one."""
    clusters = {"clusters"} if config.scope == "cluster" else set[str]()
    return Contract(needs=frozenset({f"{config.modality}_vectors", *clusters}))


def reuse(config: OutliersConfig) -> Reuse:
    """Return what the stored means depend on: not how much is kept."""
    return Reuse([config.k, config.scope, config.modality], same_rows=True)


def run(context: Context) -> Outcome:
    """Measure every row to its neighbours, and cut."""
    engine, config = context.engine, context.config
    known = context.reusable / "likeness" if context.reusable else None
    scope = config.scope
    if scope == "auto":
        large = context.rows > WHOLE_ROWS and "clusters" in context.artifacts
        scope = "cluster" if large else "pool"
    if known is None:
        kernel = partial(measure_cluster, k=config.k)
        grouped = clustered(context, scope, WHOLE_ROWS)
        measured = engine.map_groups(grouped, "cluster", kernel, SCORED)
    else:
        measured = engine.scan(os.fspath(known))
    folder = os.fspath(context.folder / "likeness")
    engine.write(measured, folder, ["uid"])
    scored = engine.scan(folder)
    count = budget_rows(context, config) if config.has_budget else None
    decided = keep_best(
        engine,
        scored,
        Cut(count, config.threshold),
        descending=True,
        words=Words("like_its_neighbours", "outlier", "no_neighbour"),
    )
    return Outcome(
        decisions_of(engine, decided),
        artifacts={"likeness": "likeness"},
        facts={
            "budget": count,
            "neighbours_in": scope,
            "without_neighbour": count_unscored(engine, scored),
            "neighbours_reused": known is not None,
        },
    )


def measure_cluster(rows: pa.Table, *, k: int) -> pa.Table:
    """Return (uid, score) of one cluster's rows: the mean cosine to the k nearest."""
    means = mean_of_nearest(to_matrix(rows["vector"]), k)
    values = pa.array(means, pa.float64(), from_pandas=True)
    return pa.table([rows["uid"].cast(pa.string()), values], schema=SCORED)
