"""Semantic duplicates within clusters (SemDeDup), epsilon changeable afterwards.

Each row's most similar earlier row does not depend on epsilon. It is stored, so that a
run with another epsilon or other semantics only repeats the cheap half.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.algorithms.dedup.cluster import Cluster
from pipeline.algorithms.dedup.semantic import (
    Neighbours,
    Selection,
    best_earlier,
    select,
    visiting_order,
)
from pipeline.config.steps import SemanticConfig
from pipeline.core.engine import Frame
from pipeline.core.hashing import keys
from pipeline.core.schemas import DECISIONS
from pipeline.core.vectors import take, to_matrix
from pipeline.steps.step import Context, Contract, Outcome, Reuse

#: What is stored for a later epsilon: M_j and its argmax, in visiting order.
NEIGHBOURS = pa.schema(
    [
        ("uid", pa.string()),
        ("similarity", pa.float64()),
        ("twin", pa.string()),
    ]
)
_OUT = pa.schema([*DECISIONS, ("similarity", pa.float64()), ("twin", pa.string())])


def contract(config: SemanticConfig) -> Contract:
    """Return that vectors and clusters come in."""
    return Contract(
        needs=frozenset({f"{config.modality}_vectors", "clusters"}),
        depends_on=frozenset({"seed"}) if config.order == "random" else frozenset(),
    )


def reuse(config: SemanticConfig) -> Reuse:
    """Return the settings that the stored neighbours depend on."""
    settings = config.model_dump(mode="json", exclude={"epsilon", "semantics"})
    return Reuse(settings, same_rows=True)


def run(context: Context) -> Outcome:
    """Decide cluster by cluster; store each row's most similar earlier row."""
    engine, config = context.engine, context.config
    samples = engine.select(context.samples, {"uid": "uid"})
    clusters = engine.join(context.scan("clusters"), samples, "uid", "semi")
    members = engine.join(context.vectors(config.modality), clusters, "uid", "inner")
    known = _known_neighbours(context)
    if known is not None:
        members = engine.join(members, known, "uid", "inner")
    kernel = partial(
        deduplicate_cluster,
        config=config,
        salt=f"{context.seed}:{context.step}",
    )
    frame = engine.map_groups(members, "cluster", kernel, _OUT)
    engine.write(
        engine.select(frame, {name: name for name in NEIGHBOURS.names}),
        os.fspath(context.folder / "neighbours"),
        ["uid"],
    )
    return Outcome(
        decisions=engine.select(frame, {name: name for name in DECISIONS.names}),
        artifacts={"neighbours": "neighbours"},
        facts={"neighbours_reused": known is not None},
    )


def _known_neighbours(context: Context) -> Frame | None:
    if context.reusable is None:
        return None
    folder = context.reusable / "neighbours"
    return context.engine.scan(os.fspath(folder)) if folder.is_dir() else None


def deduplicate_cluster(
    cluster: pa.Table, *, config: SemanticConfig, salt: str
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
    members = Cluster(to_matrix(visited.column("vector")))
    names = np.array(visited.column("uid").to_pylist(), object)
    if "twin" in visited.schema.names:
        neighbours = _stored(visited, names)
    else:
        neighbours = best_earlier(members)
    chosen = select(members, neighbours, config.epsilon, config.semantics)
    return _decided(names, neighbours, chosen, config)


def _stored(visited: pa.RecordBatch, names: npt.NDArray[np.object_]) -> Neighbours:
    """Turn stored uids of twins back into positions."""
    places = {name: place for place, name in enumerate(names)}
    twins = [places.get(twin, -1) for twin in visited.column("twin").to_pylist()]
    similarity = visited.column("similarity").to_numpy(zero_copy_only=False)
    return Neighbours(similarity.astype(np.float64), np.array(twins, np.int64))


def _decided(
    names: npt.NDArray[np.object_],
    neighbours: Neighbours,
    chosen: Selection,
    config: SemanticConfig,
) -> pa.Table:
    """Return _OUT rows.

    A kept row's score is its similarity to the most similar earlier row. Under
    `reference` a dropped row's twin may have gone too; then it has no kept twin.
    """
    keep = chosen.keep
    twin_stays = keep[np.maximum(chosen.twin, 0)] & (chosen.twin >= 0)
    orphan = ~keep & ~twin_stays
    twins = pa.array(names[np.maximum(chosen.twin, 0)], pa.string())
    kept_twin = pc.if_else(
        pa.array(~keep & twin_stays), twins, pa.scalar(None, pa.string())
    )
    reason = np.where(keep, "unique", "semantic_duplicate").astype(object)
    reason[orphan] = "semantic_duplicate_of_dropped"
    score = np.where(keep, neighbours.similarity, chosen.similarity)
    best = pa.array(names[np.maximum(neighbours.twin, 0)], pa.string())
    rows = len(names)
    columns = {
        "uid": pa.array(names, pa.string()),
        "keep": pa.array(keep),
        "reason": pa.array(reason, pa.string()),
        "score": pa.array(score, pa.float64(), from_pandas=True),
        "threshold": pa.array([1.0 - config.epsilon] * rows),
        "kept_twin": kept_twin,
        "similarity": pa.array(neighbours.similarity, pa.float64(), from_pandas=True),
        "twin": pc.if_else(
            pa.array(neighbours.twin >= 0), best, pa.scalar(None, pa.string())
        ),
    }
    return pa.table(columns, schema=_OUT)
