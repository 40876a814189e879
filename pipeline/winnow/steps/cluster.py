"""Spherical k-means: centroids from a stated sample, exact assignment of every row.

The training sample is the rows with the smallest uid hashes, in that order, so that
neither shards nor row order change a centroid.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.cosine_bounds import Targets, as_targets
from winnow.algorithms.prune.assignment import nearest_centroid
from winnow.config.steps import ClusterConfig
from winnow.core.engine import DeviceChoice, Frame
from winnow.core.progress import doing
from winnow.core.schemas import CLUSTERS
from winnow.core.vectors import to_matrix
from winnow.core.words import number_of
from winnow.models.kmeans import default_k, train_kmeans
from winnow.models.torch_device import device_of
from winnow.numeric.device import Device
from winnow.numeric.threads import side_by_side
from winnow.steps.cluster_ranks import MAX_CLUSTERS
from winnow.steps.contract import Context, Contract, Outcome
from winnow.steps.device_choice import drivers_device, kernels_choice
from winnow.steps.training_sample import training_sample

#: Training rows for each centroid where the recipe states none; FAISS's own bound,
#: but drawn by uid hash and written into the manifest.
_TRAIN_PER_CLUSTER = 256
# Of so many for each centroid a quarter is enough for most of the iterations.
_COARSE_FROM = 128


def contract(config: ClusterConfig) -> Contract:
    """Return that vectors come in and clusters go out."""
    return Contract(
        needs=frozenset({f"{config.modality}_vectors"}),
        provides=frozenset({"clusters", "centroids", "sizes"}),
        depends_on=frozenset({"seed"}),
        decides=False,
        libraries=frozenset({"faiss-cpu"}),
    )


def run(context: Context) -> Outcome:
    """Train, assign, and write centroids, assignments and sizes."""
    engine, config = context.engine, context.config
    k = default_k(context.rows) if config.k == "auto" else config.k
    wanted = config.train_rows
    if wanted == "auto":
        wanted = k * _TRAIN_PER_CLUSTER
    keyed = engine.select(context.samples, {"uid": "uid", "key": "key"})
    vectors = engine.join(context.vectors(config.modality), keyed, "uid", "inner")
    doing("a sample to train on")
    sample = training_sample(context, vectors, wanted)
    doing(f"k-means over {number_of(len(sample), 'vector')}")
    enough = len(sample) >= _COARSE_FROM * k
    centroids = train_kmeans(
        sample,
        min(k, len(sample)),
        seed=context.seed,
        iterations=config.iterations,
        coarse_rows=len(sample) // 4 if enough else 0,
        device=drivers_device(engine, len(sample)),
    )
    np.save(context.folder / "centroids.npy", centroids)
    doing("nearest centroids")
    _write_sizes(context, _assign_all(context, vectors, centroids))
    return Outcome(
        artifacts={
            "clusters": "clusters",
            "centroids": "centroids.npy",
            "sizes": "sizes",
        },
        facts={
            "k": len(centroids),
            "k_asked": k,
            "training_rows": len(sample),
            "rows": context.rows,
            "iterations": config.iterations,
        },
    )


def _assign_all(
    context: Context, vectors: Frame, centroids: npt.NDArray[np.float32]
) -> Frame:
    """Write all rows' clusters, and return them."""
    engine, path = context.engine, os.fspath(context.folder / "clusters")
    choice = kernels_choice(engine, context.rows)
    assigning = partial(assign, centroids=centroids, choice=choice)
    engine.write(engine.map_batches(vectors, assigning, CLUSTERS), path, ["uid"])
    return engine.scan(path)


def assign(
    batches: Iterator[pa.RecordBatch],
    *,
    centroids: npt.NDArray[np.float32],
    choice: DeviceChoice,
) -> Iterator[pa.RecordBatch]:
    """Yield each row's nearest centroid and its distance."""
    targets, device = as_targets(centroids), device_of(choice)
    work = partial(_assigned, targets=targets, device=device)
    yield from side_by_side(work, batches)


def _assigned(
    batch: pa.RecordBatch, *, targets: Targets, device: Device | None
) -> pa.RecordBatch:
    matrix = to_matrix(batch.column("vector"))
    cluster, distance = nearest_centroid(matrix, targets, device=device)
    return pa.RecordBatch.from_arrays(
        [batch.column("uid"), pa.array(cluster), pa.array(distance)], schema=CLUSTERS
    )


def _write_sizes(context: Context, clusters: Frame) -> None:
    engine = context.engine
    sizes = engine.aggregate(clusters, "cluster", {"size": ("uid", "count")})
    table = engine.collect(sizes, MAX_CLUSTERS).sort_by("cluster")
    engine.write(
        engine.from_table(table), os.fspath(context.folder / "sizes"), ["cluster"]
    )
