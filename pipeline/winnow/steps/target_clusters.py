"""Keep images whose cluster holds an image of a target: DataComp's image-based filter.

Gadre et al. 2023 (arXiv 2304.14108): the pool is clustered, and of the clusters those
stay to which at least one image of ImageNet is nearest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.prune.assignment import nearest_by_product, nearest_centroid
from winnow.config.filter_steps import TargetClustersConfig
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import fingerprint
from winnow.core.vectors import to_matrix
from winnow.formats.clip_retrieval import map_numbers
from winnow.steps.contract import (
    ENCODER_LIBRARIES,
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    model_spec,
)
from winnow.steps.outside_sets import embeds, outside_parts, state_of

Counts = npt.NDArray[np.int64]
Assign = Callable[[npt.NDArray[np.float16]], npt.NDArray[np.int32]]


def contract(config: TargetClustersConfig) -> Contract:
    """Return that vectors come in, or clusters; raises InputError for faulty files."""
    version, by_model = state_of(config.target), embeds(config.target)
    needs = {"image_vectors"} if config.centroids else {"clusters", "centroids"}
    if config.centroids:
        file = Path(config.centroids).expanduser()
        map_numbers(file)
        version += fingerprint(f"{file.stat().st_size}:{file.stat().st_mtime_ns}")
    return Contract(
        needs=frozenset(needs),
        depends_on=frozenset({"model"} if by_model else ()),
        version=version,
        libraries=ENCODER_LIBRARIES if by_model else frozenset[str](),
    )


def run(context: Context) -> Outcome:
    """Count the target's images in each cluster; keep the rows of those with any."""
    engine, config = context.engine, context.config
    given = config.centroids or context.artifacts["centroids"]
    centroids = _centroids(Path(given).expanduser())
    assign = partial(assigned, centroids=centroids, nearest=config.nearest)
    if config.centroids:
        _same_length(context, centroids)
    targets, facts = _count_targets(context, assign, centroids)
    samples = engine.select(context.samples, {"uid": "uid"})
    if config.centroids:
        vectors = engine.join(context.vectors("image"), samples, "uid", "semi")
        kernel = partial(judge_vectors, targets=targets, assign=assign)
        judgeable = engine.map_batches(vectors, kernel, JUDGED)
    else:
        clusters = engine.join(context.scan("clusters"), samples, "uid", "semi")
        judgeable = engine.map_batches(
            clusters, partial(judge_clusters, targets=targets), JUDGED
        )
    facts |= {"clusters": len(centroids), "target_clusters": int((targets > 0).sum())}
    return Outcome(decisions_of(engine, judgeable), facts=facts)


def _centroids(file: Path) -> npt.NDArray[np.float32]:
    matrix = np.asarray(map_numbers(file), np.float32)
    usable = matrix.ndim == 2 and len(matrix) and np.isfinite(matrix).all()
    if not usable or not matrix.any(axis=1).all():
        raise InputError(
            f"{file}: {matrix.shape} is no matrix of centroids, one to a row, each "
            "finite and not zero"
        )
    return matrix


def _same_length(context: Context, centroids: npt.NDArray[np.float32]) -> None:
    vectors = context.engine.schema(context.vectors("image")).field("vector")
    if vectors.type.list_size != centroids.shape[1]:
        raise ConfigError(
            f"{context.step}: centroids of {centroids.shape[1]} numbers, but the "
            f"pool's vectors have {vectors.type.list_size}; give those of its model"
        )


def _count_targets(
    context: Context, assign: Assign, centroids: npt.NDArray[np.float32]
) -> tuple[Counts, dict[str, Any]]:
    """Return how many of the target's images fall into each cluster."""
    target, counts = context.config.target, np.zeros(len(centroids), np.int64)
    unusable: Counter[str] = Counter()
    parts = outside_parts(target, model_spec(context.model), centroids.shape[1])
    for _, matrix, reasons in parts:
        counts += np.bincount(assign(matrix), minlength=len(counts))
        unusable.update(reasons)
    if not counts.any():
        raise InputError(f"{target.path}: it holds no usable vector ({dict(unusable)})")
    told = {"path": target.path, "vectors": int(counts.sum())}
    return counts, {"target": {**told, "unusable": dict(unusable)}}


def assigned(
    vectors: npt.NDArray[np.float16],
    *,
    centroids: npt.NDArray[np.float32],
    nearest: str,
) -> npt.NDArray[np.int32]:
    """Return each vector's centroid."""
    if nearest == "product":
        return nearest_by_product(vectors, centroids)
    return nearest_centroid(vectors, centroids)[0]


def judge_vectors(
    batches: Iterator[pa.RecordBatch], *, targets: Counts, assign: Assign
) -> Iterator[pa.RecordBatch]:
    """Assign vectors and judge their clusters."""
    for batch in batches:
        clusters = assign(to_matrix(batch.column("vector")))
        yield _judged(batch.column("uid"), targets[clusters])


def judge_clusters(
    batches: Iterator[pa.RecordBatch], *, targets: Counts
) -> Iterator[pa.RecordBatch]:
    """Judge rows by their clusters."""
    for batch in batches:
        yield _judged(batch.column("uid"), targets[batch.column("cluster").to_numpy()])


def _judged(uid: pa.Array, counts: Counts) -> pa.RecordBatch:
    keep = pa.array(counts > 0)
    return judged(
        uid,
        keep=keep,
        reason=pc.if_else(keep, "in_target_cluster", "in_no_target_cluster"),
        score=pa.array(counts, pa.float64()),
        threshold=1.0,
    )
