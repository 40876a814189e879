"""Density-based pruning (DBP): complex clusters keep more, dense simple ones less."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.prune.complexity import allocate_budget, inter_distances
from winnow.config.steps import ComplexityConfig
from winnow.core.errors import ConfigError
from winnow.steps.cluster_ranks import rank_in_clusters
from winnow.steps.contract import Context, Contract, Outcome, decisions_of
from winnow.steps.selection import Words, budget_rows, keep_quotas

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
    centroids = np.load(context.artifacts["centroids"])
    neighbours = config.neighbours
    if neighbours == "auto":
        neighbours = min(_NEIGHBOURS, len(_usable(centroids)) - 1)
    try:
        quotas = _quotas(config, statistics, _d_inter(centroids, neighbours), count)
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


def _usable(centroids: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    norms = np.linalg.norm(centroids.astype(np.float64), axis=1)
    return np.flatnonzero(np.isfinite(norms) & (norms > 0))


def _d_inter(
    centroids: npt.NDArray[np.floating], neighbours: int
) -> npt.NDArray[np.float64]:
    """Return d_inter of every centroid, (k,), among all of the clustering's.

    Those whose rows have gone since count as neighbours, as in the released code.
    """
    # A single cluster has no neighbour and gets the whole budget anyway.
    d_inter = np.ones(len(centroids))
    if neighbours:
        usable = _usable(centroids)
        d_inter[usable] = inter_distances(centroids[usable], neighbours)
    return d_inter


def _quotas(
    config: ComplexityConfig,
    statistics: pa.Table,
    every_d_inter: npt.NDArray[np.float64],
    count: int,
) -> pa.Table:
    """Return each occupied cluster's size, d_intra, d_inter, complexity and quota."""
    clusters = statistics["cluster"]
    d_intra = statistics["mean"].to_numpy()
    d_inter = every_d_inter[clusters.to_numpy()]
    complexities = d_intra * d_inter
    quotas = allocate_budget(
        statistics["size"].to_numpy(),
        complexities,
        count,
        temperature=config.temperature,
        balance=config.balance.share,
        of=config.balance.of,
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
