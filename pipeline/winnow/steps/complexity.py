"""Density-based pruning (DBP): complex clusters keep more, dense simple ones less."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from winnow.algorithms.prune.complexity import allocate_budget, inter_distances
from winnow.config.steps import ComplexityConfig
from winnow.core.errors import ConfigError
from winnow.steps.cluster_ranks import rank_in_clusters
from winnow.steps.selection import Words, budget_rows, keep_quotas
from winnow.steps.step import Context, Contract, Outcome, decisions_of

#: Nearest other centroids in d_inter (Abbas et al. 2024, arXiv 2401.04578, §3).
_NEIGHBOURS = 20


def contract(config: ComplexityConfig) -> Contract:
    """Return that clusters come in."""
    return Contract(
        needs=frozenset({"clusters"}),
        depends_on=frozenset({"seed"}) if config.keep == "random" else frozenset(),
    )


def run(context: Context) -> Outcome:
    """Measure complexity, spread the budget, keep each cluster's quota."""
    engine, config = context.engine, context.config
    count = budget_rows(context, config)
    ranked, statistics = rank_in_clusters(context, config.keep)
    neighbours = config.neighbours
    if neighbours == "auto":
        neighbours = min(_NEIGHBOURS, len(statistics) - 1)
    try:
        quotas = _quotas(context, statistics, neighbours, count)
    except ValueError as error:
        raise ConfigError(f"{context.step}: {error}") from error
    folder = os.fspath(context.folder / "complexity")
    engine.write(engine.from_table(quotas), folder, ["cluster"])
    decided = keep_quotas(
        engine,
        ranked,
        quotas["cluster"],
        quotas["quota"].to_numpy(),
        Words("within_cluster_quota", "over_cluster_quota"),
    )
    return Outcome(
        decisions_of(engine, decided),
        artifacts={"complexity": "complexity"},
        facts={"budget": count, "neighbours": neighbours, "clusters": len(quotas)},
    )


def _quotas(
    context: Context, statistics: pa.Table, neighbours: int, count: int
) -> pa.Table:
    """Return each cluster's size, d_intra, d_inter, complexity and quota."""
    clusters = statistics["cluster"]
    centroids = np.load(context.artifacts["centroids"])[clusters.to_numpy()]
    d_intra = statistics["mean"].to_numpy()
    # A single cluster has no neighbour and gets the whole budget anyway.
    d_inter = inter_distances(centroids, neighbours) if neighbours else np.ones(1)
    complexities = d_intra * d_inter
    quotas = allocate_budget(
        statistics["size"].to_numpy(),
        complexities,
        count,
        temperature=context.config.temperature,
        balance=context.config.balance.share,
        of=context.config.balance.of,
    )
    return pa.table(
        {
            "cluster": clusters,
            "size": statistics["size"],
            "d_intra": d_intra,
            "d_inter": d_inter,
            "complexity": complexities,
            "quota": quotas,
        }
    )
