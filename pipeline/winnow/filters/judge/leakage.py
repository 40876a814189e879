"""Whether evaluation images stand in the data that a filter was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.algorithms.filter.contamination import nearest_hash
from winnow.algorithms.filter.norm_sim import nearest_target
from winnow.config.filter_steps import OutsideSet
from winnow.core.errors import ConfigError
from winnow.filters.judge.evaluation_set import EvaluationSet, Matrix, image_bytes
from winnow.formats.column_names import column_hint
from winnow.formats.shard_discovery import find_pool, read_footers
from winnow.models.encoder import ModelSpec
from winnow.steps.evaluation_items import evaluation_hashes, hash_images
from winnow.steps.outside_sets import outside_vectors

_SHOWN = 50
_CHUNK = 512


@dataclass(frozen=True)
class Distances:
    """Up to where two images are the same, as in the step `decontaminate`.

    max_distance: cosine distance of the filter's own vectors, 0 to 2.
    max_bits: bits in which two perceptual hashes of 64 bits differ.

    >>> winnow.Distances(max_bits=4).max_distance
    0.05
    """

    max_distance: float = 0.05
    max_bits: int = 6


def leakage(
    data: EvaluationSet,
    images: Matrix,
    spec: ModelSpec,
    train: str,
    distances: Distances,
) -> dict[str, Any]:
    """Compare every evaluation image with the training images of `train`.

    By cosine distance of the filter's own vectors, and by perceptual hash, where a
    training image's middle and corners count too. Returns counts and the leaked images
    with their training images. Raises InputError if the training images cannot be read.
    """
    given = _training_set(train)
    vectors = outside_vectors(given, spec, images.shape[1])
    items, facts = evaluation_hashes([given], spec.max_pixels)
    hashes, readable = _hashes(data, spec.max_pixels)
    cosine, near = nearest_target(images, vectors.matrix)
    bits, like = nearest_hash(hashes, items.values)
    by_vector = 1.0 - cosine <= distances.max_distance
    by_hash = readable & (bits <= distances.max_bits)
    leaked = np.flatnonzero(by_vector | by_hash)
    return {
        "train": train,
        "train_images": len(vectors.names),
        "evaluation_images": len(data),
        "max_distance": distances.max_distance,
        "max_bits": distances.max_bits,
        "leaked": len(leaked),
        "clean": not len(leaked),
        "by_vector": int(by_vector.sum()),
        "by_hash": int(by_hash.sum()),
        "nearest_distance": float(1.0 - cosine.max()),
        "median_distance": float(1.0 - np.median(cosine)),
        "nearest_bits": int(bits.min()),
        "unusable": facts[given.title]["unusable"],
        "items": [
            {
                "uid": data.uids[row],
                "train_by_vector": vectors.names[int(near[row])],
                "distance": float(1.0 - cosine[row]),
                "train_by_hash": items.names[int(like[row])].partition(":")[2],
                "bits": int(bits[row]),
            }
            for row in leaked[:_SHOWN].tolist()
        ],
    }


def _training_set(path: str) -> OutsideSet:
    pool = find_pool(path)
    _, schema, _ = read_footers(pool.paths, kind=pool.kind)
    if "image" not in schema.names:
        hint = column_hint("image", schema)
        raise ConfigError(f"{path}: training images are read from 'image'; {hint}")
    uid = "uid" if "uid" in schema.names else None
    return OutsideSet(path=path, text=None, uid=uid)


def _hashes(data: EvaluationSet, max_pixels: int) -> tuple[Any, Any]:
    hashes = np.zeros(len(data), np.uint64)
    readable = np.zeros(len(data), bool)
    for start in range(0, len(data), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(data)))
        image_of = image_bytes(data, rows)
        images = pa.array([image_of[row] for row in rows], pa.binary())
        names = pa.array([data.uids[row] for row in rows], pa.string())
        part = pa.record_batch([names, images], names=["uid", "image"])
        values, faults = hash_images(part, max_pixels)
        hashes[start : start + len(rows)] = values[:, 0]
        readable[start : start + len(rows)] = [f is None for f in faults.to_pylist()]
    return hashes, readable
