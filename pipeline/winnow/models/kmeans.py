"""Centroids by FAISS k-means, without its silent subsampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.models.faiss_library import faiss_library

Matrix = npt.NDArray[np.float32]

MAX_DEFAULT_K = 50_000
# Part of the iterations that some of the rows are enough for.
_COARSE = 0.6


def default_k(rows: int) -> int:
    """Return √rows, rounded and kept within 1 and 50,000.

    The papers' choices are of this order: 1,000 for the 1.28 M images of ImageNet
    (Sorscher et al. 2022, arXiv 2206.14486), 50,000 for LAION-440M (SemDeDup, arXiv
    2303.09540), 500 for a LAION of 280 M (DBP, arXiv 2401.04578); all three find
    results to be robust within an order of magnitude. √rows also balances the two
    costs: assigning n rows takes n·k, comparing within clusters n²/k.
    """
    return max(1, min(MAX_DEFAULT_K, round(math.sqrt(rows))))


def train_kmeans(
    sample: npt.NDArray[np.floating[Any]],
    k: int,
    *,
    seed: int,
    iterations: int = 20,
    spherical: bool = True,
    coarse_rows: int = 0,
) -> Matrix:
    """Return (k', d) float32 centroids of all rows of `sample` (n, d).

    k' is k, or the number of distinct rows if that is smaller. With `spherical` the
    centroids have unit length. FAISS would train on at most 256 rows per centroid
    without a word; here the sample is used whole, so draw it before. The same sample
    in the same order gives the same centroids up to float32 rounding, for any number
    of threads.

    coarse_rows: how many rows, the first of a sample in random order, are enough for
        the first three fifths of the iterations, which only bring the centroids near to
        where they end. 0: all. With a quarter of 256 rows a centroid, 20 iterations
        cost as much as 11 and end at least as tight (docs/measurements.md).

    Raises ValueError for an empty sample, k < 1, or values that are not finite.
    """
    points = _checked(sample, k)
    distinct = _distinct(points, k)
    if distinct is not None:
        return _unit(distinct) if spherical else distinct
    coarse = int(iterations * _COARSE) if coarse_rows >= k else 0
    near = (
        _trained(points[:coarse_rows], k, seed, coarse, spherical) if coarse else None
    )
    centroids = _trained(points, k, seed, iterations - coarse, spherical, near)
    return _unit(centroids) if spherical else centroids


def _trained(
    points: Matrix,
    k: int,
    seed: int,
    iterations: int,
    spherical: bool,
    start: Matrix | None = None,
) -> Matrix:
    faiss = faiss_library()
    clustering = faiss.Clustering(points.shape[1], k)
    clustering.niter = iterations
    clustering.seed = seed
    clustering.spherical = spherical
    clustering.verbose = False
    # One point per centroid suffices; that all are used is the caller's decision.
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = math.ceil(len(points) / k)
    if start is not None:
        faiss.copy_array_to_vector(start.ravel(), clustering.centroids)
    index = (faiss.IndexFlatIP if spherical else faiss.IndexFlatL2)(points.shape[1])
    clustering.train(points, index)
    centroids: Matrix = faiss.vector_to_array(clustering.centroids).reshape(k, -1)
    return centroids


def _checked(sample: npt.NDArray[np.floating[Any]], k: int) -> Matrix:
    if sample.ndim != 2 or not len(sample):
        raise ValueError(f"k-means needs rows; the sample has shape {sample.shape}")
    if k < 1:
        raise ValueError(f"k-means needs k >= 1, not {k}")
    points = np.ascontiguousarray(sample, dtype=np.float32)
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points).all(axis=1)).sum())
        raise ValueError(f"{bad} of {len(points)} rows hold NaN or infinity")
    return points


def _distinct(points: Matrix, limit: int) -> Matrix | None:
    """Return the distinct rows by first appearance, or None if above `limit`."""
    seen: dict[bytes, None] = {}
    for row in points:
        seen[row.tobytes()] = None
        if len(seen) > limit:
            return None
    return np.frombuffer(b"".join(seen), np.float32).reshape(len(seen), -1)


def _unit(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # A zero row has no direction; any unit vector does as well as another.
    fallback = np.zeros_like(rows)
    fallback[:, 0] = 1.0
    return np.where(lengths > 0, rows / np.maximum(lengths, 1e-30), fallback)
