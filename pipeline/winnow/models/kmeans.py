"""Centroids by k-means as FAISS has it, without its silent subsampling.

Rows may lie in a file: they are read block by block.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import numpy.typing as npt

from winnow.models.lloyd import Rows, blocks, lloyd, singles
from winnow.numeric.device import Device

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


def train_kmeans(  # noqa: PLR0913 - rows, how many, and how they are clustered
    sample: Rows,
    k: int,
    *,
    seed: int,
    iterations: int = 20,
    spherical: bool = True,
    coarse_rows: int = 0,
    device: Device | None = None,
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
    device: tells the nearest centroids of spherical ones, if there is one.

    Raises ValueError for an empty sample, k < 1, or values that are not finite.
    """
    _checked(sample, k)
    distinct = _distinct(sample, k)
    if distinct is not None:
        return _unit(distinct) if spherical else distinct
    coarse = int(iterations * _COARSE) if coarse_rows >= k else 0
    trained = partial(lloyd, sample, k=k, seed=seed, spherical=spherical, device=device)
    near = trained(coarse_rows, iterations=coarse) if coarse else None
    rest = iterations - coarse
    centroids = trained(sample.shape[0], iterations=rest, start=near)
    return _unit(centroids) if spherical else centroids


def _checked(sample: Rows, k: int) -> None:
    if len(sample.shape) != 2 or not sample.shape[0]:
        raise ValueError(f"k-means needs rows; the sample has shape {sample.shape}")
    if k < 1:
        raise ValueError(f"k-means needs k >= 1, not {k}")
    finite = (np.isfinite(singles(sample, some)).all(axis=1) for some in blocks(sample))
    bad = sum(int((~rows).sum()) for rows in finite)
    if bad:
        raise ValueError(f"{bad} of {sample.shape[0]} rows hold NaN or infinity")


def _distinct(sample: Rows, limit: int) -> Matrix | None:
    """Return the distinct rows by first appearance, or None if above `limit`."""
    seen: dict[bytes, None] = {}
    for some in blocks(sample):
        for row in singles(sample, some):
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
