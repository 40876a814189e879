"""Semantic duplicates of a pool or within clusters, epsilon changeable afterwards.

Each row's most similar earlier row does not depend on epsilon. It is stored, so that a
run with another epsilon or other semantics only repeats the cheap half.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.cluster import Cluster
from winnow.algorithms.dedup.semantic import (
    Neighbours,
    Selection,
    best_earlier,
    select,
    visiting_order,
)
from winnow.config.steps import SemanticConfig
from winnow.core.engine import DeviceChoice, Engine, Frame
from winnow.core.hashing import keys
from winnow.core.schemas import DECISIONS
from winnow.core.vectors import take, to_matrix
from winnow.models.torch_device import device_of
from winnow.steps.cluster_ranks import MAX_CLUSTERS
from winnow.steps.contract import Context, Contract, Outcome, Reuse
from winnow.steps.device_choice import kernels_choice
from winnow.steps.indexed_vectors import index_version, taken_by_index
from winnow.steps.keeper import positions, with_keeper
from winnow.steps.large_clusters import divide
from winnow.steps.pool_tasks import one_cluster
from winnow.steps.semantic_blocks import (
    decided_rows,
    known_neighbours,
    neighbours_of,
    select_large,
)
from winnow.steps.semantic_pool import (
    PROBES,
    WHOLE_ROWS,
    group_pool,
    recall_bar,
    select_in_groups,
)
from winnow.steps.semantic_tasks import Decided

#: What is stored for a later epsilon: M_j and its argmax, in visiting order.
NEIGHBOURS = pa.schema(
    [
        ("uid", pa.string()),
        ("similarity", pa.float64()),
        ("twin", pa.string()),
    ]
)
#: Of a uid, beside its row's vector.
_NAME_BYTES = 64
_OUT = pa.schema([*DECISIONS, ("similarity", pa.float64()), ("twin", pa.string())])


def contract(config: SemanticConfig) -> Contract:
    """Return that vectors and clusters come in."""
    drawn = config.order == "random" and not config.keeper
    without_keeper = Contract(
        needs=frozenset({f"{config.modality}_vectors", "clusters"}),
        depends_on=frozenset({"seed"}) if drawn else frozenset(),
        version=index_version(config.index) if config.index else "",
    )
    return with_keeper(without_keeper, config.keeper)


def reuse(config: SemanticConfig) -> Reuse | None:
    """Return the settings that the stored neighbours depend on."""
    if config.index:
        # Which rows the index takes out, and so who is a neighbour, goes by epsilon.
        return None
    settings = config.model_dump(mode="json", exclude={"epsilon", "semantics"})
    if config.scope == "pool":
        settings["recall_bar"] = recall_bar(config)
    return Reuse(settings, same_rows=True)


def run(context: Context) -> Outcome:
    """Decide cluster by cluster; store each row's most similar earlier row."""
    # 1. Clusters that a worker can hold, each whole; 2. larger ones by blocks of rows;
    # 3. what a later epsilon needs, and decisions.
    engine, config = context.engine, context.config
    samples = engine.select(context.samples, {"uid": "uid"})
    clusters = engine.join(context.scan("clusters"), samples, "uid", "semi")
    vectors = context.vectors(config.modality)
    taken: Frame | None = None
    if config.index:
        taken = taken_by_index(context, engine.join(vectors, samples, "uid", "semi"))
        clusters = engine.join(clusters, taken, "uid", "anti")
        context = replace(context, rows=engine.count(clusters))
    if config.keeper:
        context, clusters = _in_keepers_order(context, clusters)
        config = context.config
    known = _known_neighbours(context)
    if config.scope == "pool" and context.rows > WHOLE_ROWS:
        frame, facts = _in_groups(context, clusters, vectors, known)
    else:
        if config.scope == "pool":
            schema = engine.schema(clusters)
            clusters = engine.map_batches(clusters, one_cluster, schema)
        frame, facts = _in_clusters(context, clusters, vectors, known)
    engine.write(
        engine.select(frame, {name: name for name in NEIGHBOURS.names}),
        os.fspath(context.folder / "neighbours"),
        ["uid"],
    )
    decisions = engine.select(frame, {name: name for name in DECISIONS.names})
    if taken is not None:
        decisions = engine.union([decisions, taken])
        facts = {**facts, "taken_by_index": engine.count(taken)}
    return Outcome(
        decisions=decisions,
        artifacts={
            "neighbours": "neighbours",
            **({"probes": PROBES} if (context.folder / PROBES).exists() else {}),
        },
        facts={"neighbours_reused": known is not None, **facts},
    )


def _in_keepers_order(context: Context, clusters: Frame) -> tuple[Context, Frame]:
    """Return clusters with a row's place in the keeper's order as its distance.

    Rows are visited from the smallest of these on, which is the order `easy`.
    """
    engine, config = context.engine, context.config
    members = engine.select(clusters, {"uid": "uid", "cluster": "cluster"})
    placed = engine.join(members, positions(context, config.keeper), "uid", "inner")
    names = engine.schema(clusters).names
    ordered = engine.select(placed, {name: name for name in names})
    settings = config.model_copy(update={"order": "easy"})
    return replace(context, config=settings), ordered


def _in_clusters(
    context: Context, clusters: Frame, vectors: Frame, known: Frame | None
) -> tuple[Frame, dict[str, Any]]:
    """Return _OUT rows, of rows compared within their clusters, and facts."""
    engine, config = context.engine, context.config
    large = _large_clusters(context, clusters, vectors)
    fitting, names = clusters, engine.from_table(large.select(["cluster"]))
    if len(large):
        fitting = engine.join(clusters, names, "cluster", "anti")
    members = engine.join(vectors, fitting, "uid", "inner")
    if known is not None:
        members = engine.join(members, known, "uid", "inner")
    kernel = partial(
        deduplicate_cluster,
        config=config,
        salt=f"{context.seed}:{context.step}",
        choice=kernels_choice(engine, context.rows),
    )
    frame = engine.map_groups(members, "cluster", kernel, _OUT)
    if len(large):
        others = engine.join(clusters, names, "cluster", "semi")
        members = engine.join(vectors, others, "uid", "inner")
        rows = pc.sum(large["rows"]).as_py()
        frame = engine.union([frame, _by_blocks(context, members, rows, known)])
    return frame, {"clusters_by_blocks": len(large)}


def _in_groups(
    context: Context, clusters: Frame, vectors: Frame, known: Frame | None
) -> tuple[Frame, dict[str, Any]]:
    """Return _OUT rows, of rows compared across the borders of clusters, and facts."""
    engine, config = context.engine, context.config
    members = engine.join(vectors, clusters, "uid", "inner")
    large, facts = group_pool(context, members, _block_rows(engine, members))
    neighbours = (
        neighbours_of(large) if known is None else known_neighbours(large, known)
    )
    selection = select_in_groups(large, neighbours, config)
    kernel = partial(decision_rows, epsilon=config.epsilon)
    return decided_rows(large, neighbours, selection, kernel, _OUT), facts


def _large_clusters(context: Context, clusters: Frame, vectors: Frame) -> pa.Table:
    """Return (cluster, rows) of the clusters that are too large to take whole."""
    engine = context.engine
    most = engine.group_bytes // _row_bytes(engine, vectors)
    if context.rows <= most:
        return pa.table({"cluster": pa.array([], pa.int32()), "rows": pa.array([])})
    sizes = engine.aggregate(clusters, "cluster", {"rows": ("uid", "count")})
    table = engine.collect(sizes, MAX_CLUSTERS)
    return table.filter(pc.greater(table["rows"], most))


def _row_bytes(engine: Engine, vectors: Frame) -> int:
    dim: int = engine.schema(vectors).field("vector").type.list_size
    return 2 * dim + _NAME_BYTES


def _block_rows(engine: Engine, members: Frame) -> int:
    # A block is prepared for products, eight bytes for each two of the vectors, and
    # cores work on several of them at a time.
    return max(1, engine.group_bytes // (16 * _row_bytes(engine, members)))


def _by_blocks(
    context: Context, members: Frame, rows: int, known: Frame | None
) -> Frame:
    """Return _OUT rows of clusters that no worker holds."""
    engine, config = context.engine, context.config
    large = divide(context, members, rows, _block_rows(engine, members))
    neighbours = (
        neighbours_of(large) if known is None else known_neighbours(large, known)
    )
    selection = select_large(large, neighbours, config)
    kernel = partial(decision_rows, epsilon=config.epsilon)
    return decided_rows(large, neighbours, selection, kernel, _OUT)


def _known_neighbours(context: Context) -> Frame | None:
    if context.reusable is None:
        return None
    folder = context.reusable / "neighbours"
    return context.engine.scan(os.fspath(folder)) if folder.is_dir() else None


def deduplicate_cluster(
    cluster: pa.Table,
    *,
    config: SemanticConfig,
    salt: str,
    choice: DeviceChoice = "cpu",
) -> pa.Table:
    """Decide one cluster's rows, in the order in which they are visited."""
    uids = cluster["uid"].to_pylist()
    order = visiting_order(
        cluster["distance"].to_numpy(),
        uids,
        config.order,
        keys(uids, salt) if config.order == "random" else np.empty(0, np.uint64),
    )
    (batch,) = cluster.combine_chunks().to_batches()
    visited = take(batch, order)
    matrix = to_matrix(visited.column("vector"))
    members = Cluster(matrix, device=device_of(choice))
    names = np.array(visited.column("uid").to_pylist(), object)
    if "twin" in visited.schema.names:
        neighbours = _stored(visited, names)
    else:
        neighbours = best_earlier(members)
    chosen = select(members, neighbours, config.epsilon, config.semantics)
    return decision_rows(_named(names, neighbours, chosen), epsilon=config.epsilon)


def _stored(visited: pa.RecordBatch, names: npt.NDArray[np.object_]) -> Neighbours:
    """Turn stored uids of twins back into positions."""
    places = {name: position for position, name in enumerate(names)}
    twins = [places.get(twin, -1) for twin in visited.column("twin").to_pylist()]
    similarity = visited.column("similarity").to_numpy(zero_copy_only=False)
    return Neighbours(similarity.astype(np.float64), np.array(twins, np.int64))


def _named(
    names: npt.NDArray[np.object_], neighbours: Neighbours, chosen: Selection
) -> Decided:
    """Return the rows of a cluster with the names of their twins."""

    def of(twin: npt.NDArray[np.int64]) -> pa.Array:
        column = pa.array(names[np.maximum(twin, 0)], pa.string())
        return pc.if_else(pa.array(twin >= 0), column, pa.scalar(None, pa.string()))

    return Decided(
        pa.array(names, pa.string()),
        neighbours,
        chosen,
        best=of(neighbours.twin),
        chosen=of(chosen.twin),
        chosen_stays=chosen.keep[np.maximum(chosen.twin, 0)] & (chosen.twin >= 0),
    )


def decision_rows(decided: Decided, *, epsilon: float) -> pa.Table:
    """Return _OUT rows.

    A kept row's score is its similarity to the most similar earlier row or, where that
    row had itself gone, to the most similar one that was kept; the other stays in
    `neighbours`. Under `reference` a dropped row's twin may have gone too; then it has
    no kept twin.
    """
    neighbours, chosen = decided.neighbours, decided.selection
    keep = chosen.keep
    reason = np.where(keep, "unique", "semantic_duplicate").astype(object)
    reason[~keep & ~decided.chosen_stays] = "semantic_duplicate_of_dropped"
    spared = keep & ~np.isnan(chosen.similarity)
    reason[spared] = "unique_among_kept"
    score = np.where(keep & ~spared, neighbours.similarity, chosen.similarity)
    nobody = pa.scalar(None, pa.string())
    shown = pa.array(~keep & decided.chosen_stays)
    columns = {
        "uid": decided.uid,
        "keep": pa.array(keep),
        "reason": pa.array(reason, pa.string()),
        "score": pa.array(score, pa.float64(), from_pandas=True),
        "threshold": pa.array(np.full(len(keep), 1.0 - epsilon)),
        "kept_twin": pc.if_else(shown, decided.chosen, nobody),
        "similarity": pa.array(neighbours.similarity, pa.float64(), from_pandas=True),
        "twin": decided.best,
    }
    return pa.table(columns, schema=_OUT)
