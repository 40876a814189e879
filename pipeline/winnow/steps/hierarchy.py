"""An even budget over clusters of clusters: hierarchical sampling of vectors."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.prune.assignment import nearest_centroid
from winnow.algorithms.prune.hierarchy import nearest_members, tree_counts
from winnow.config.balance_steps import HierarchyConfig
from winnow.core.errors import ConfigError
from winnow.models.kmeans import train_kmeans
from winnow.steps.cluster_ranks import rank_in_clusters
from winnow.steps.contract import Context, Contract, Outcome, decisions_of
from winnow.steps.selection import Words, budget_rows, keep_quotas

Parents = npt.NDArray[np.int32]


def contract(config: HierarchyConfig) -> Contract:
    """Return that clusters and their centroids come in."""
    return Contract(
        needs=frozenset({"clusters", "centroids"}),
        depends_on=frozenset({"seed"}),
        libraries=frozenset({"faiss-cpu"}),
    )


def run(context: Context) -> Outcome:
    """Cluster the centroids level by level, share the budget out, and cut."""
    engine, config = context.engine, context.config
    count = budget_rows(context, config)
    ranked, statistics = rank_in_clusters(context, config.keep)
    present = statistics["cluster"].to_numpy()
    centroids = np.load(context.artifacts["centroids"])[present]
    levels = _levels(context, centroids)
    _store(context, statistics["cluster"], levels)
    quotas = tree_counts(statistics["size"].to_numpy(), levels, count)
    decided = keep_quotas(
        engine,
        ranked,
        statistics["cluster"],
        quotas,
        Words("within_share", "over_share"),
    )
    return Outcome(
        decisions_of(engine, decided),
        artifacts={"tree": "tree"},
        facts=_facts(levels, quotas, count),
    )


def _store(context: Context, clusters: pa.ChunkedArray, levels: list[Parents]) -> None:
    """Write `tree/`: clusters, and in a column each what those of a level belong to.

    A level has as many rows as the one below has clusters, and nulls behind them.
    """
    columns = {"cluster": clusters}
    for number, parents in enumerate(levels, 1):
        behind = [None] * (len(clusters) - len(parents))
        columns[f"level_{number}"] = pa.array([*parents.tolist(), *behind], pa.int32())
    frame = context.engine.from_table(pa.table(columns))
    context.engine.write(frame, os.fspath(context.folder / "tree"), ["cluster"])


def _levels(context: Context, points: npt.NDArray[np.float32]) -> list[Parents]:
    """Return for each level, the lowest first, the clusters of those below.

    Raises ConfigError if a level is to have more clusters than the one below it.
    """
    levels: list[Parents] = []
    for number, k in enumerate(context.config.levels):
        if k >= len(points):
            raise ConfigError(
                f"{context.step}.levels: {k} clusters of {len(points)}; give fewer, or "
                "cluster.k more"
            )
        parents, centroids = _cluster(context, points, k, context.seed + number)
        # Clusters that nobody belongs to have no number.
        used, numbered = np.unique(parents, return_inverse=True)
        levels.append(numbered.astype(np.int32))
        points = centroids[used]
    return levels


def _cluster(
    context: Context, points: npt.NDArray[np.float32], k: int, seed: int
) -> tuple[Parents, npt.NDArray[np.float32]]:
    """Return every point's cluster and the centroids after all rounds."""
    sample = points
    most = math.ceil(len(points) / k / 2)
    for left in range(context.config.resampling, -1, -1):
        centroids = train_kmeans(sample, min(k, len(sample)), seed=seed)
        parents, distances = nearest_centroid(points, centroids)
        if left:
            sample = points[nearest_members(parents, distances, most)]
    return parents, centroids


def _facts(
    levels: list[Parents], quotas: npt.NDArray[np.int64], count: int
) -> dict[str, Any]:
    """Return the budget, and how even each level's part of it is."""
    even = []
    counts = quotas
    for parents in levels:
        counts = np.bincount(parents, counts).astype(np.int64)
        even.append(
            {
                "clusters": len(counts),
                "least": int(counts.min()),
                "most": int(counts.max()),
            }
        )
    return {"budget": count, "levels": even}
