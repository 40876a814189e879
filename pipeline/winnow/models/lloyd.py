"""Lloyd's iterations over rows that are read block by block.

FAISS's own loop wants all rows in memory. Here its index finds the nearest centroids of
one block after another, and the rest is done as FAISS 1.15 does it, in its order and in
its precision, so that the centroids are the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from winnow.core.task import available_cores
from winnow.models.faiss_library import faiss_library
from winnow.numeric.compiled import compiled
from winnow.numeric.device import Device
from winnow.numeric.threads import side_by_side

Matrix = npt.NDArray[np.float32]
Nearest = Callable[[Matrix], npt.NDArray[np.int64]]

# Rows that are read at a time: whole tiles of FAISS's products, which have 4,096.
_BLOCK_ROWS = 8_192
# What FAISS moves the two halves of a divided cluster apart by.
_APART = np.float32(1 / 1024)
# FAISS's seed for which clusters it divides, and the largest number that it draws.
_SPLIT_SEED, _LARGEST = 1234, np.float32(2**32 - 1)
_DRAWN = 4_096


class Rows(Protocol):
    """Rows of numbers, (n, d): an array, or what reads a stretch of a file.

    A stretch may be asked for by several threads at once.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """How many rows there are, and of how many numbers."""

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.floating[Any]]:
        """Return a stretch of rows."""


def blocks(rows: Rows, stop: int | None = None) -> Iterator[slice]:
    """Yield stretches that cover the first `stop` rows; None: all of them."""
    count = rows.shape[0] if stop is None else stop
    # A last block of a few rows would be multiplied by other means than the others.
    starts = range(0, max(1, count - _BLOCK_ROWS + 1), _BLOCK_ROWS)
    for start in starts:
        yield slice(start, count if start == starts[-1] else start + _BLOCK_ROWS)


def singles(rows: Rows, some: slice) -> Matrix:
    """Return a stretch of rows as float32."""
    return np.ascontiguousarray(rows[some], dtype=np.float32)


def lloyd(  # noqa: PLR0913 - rows, how many, and how they are clustered
    rows: Rows,
    count: int,
    k: int,
    *,
    seed: int,
    iterations: int,
    spherical: bool,
    start: Matrix | None = None,
    device: Device | None = None,
) -> Matrix:
    """Return (k, d) centroids of the first `count` rows: at least k, which then are it.

    start: (k, d), where the iterations begin; None: at k rows drawn by the seed.
    spherical: centroids have unit length, and rows go to the largest product instead
        of the smallest distance.

    device: tells the nearest centroids of rows, where they are spherical; of rows that
        are as near to others as float32 can tell, FAISS does.

    The numbers are those of `faiss.Clustering`.
    """
    faiss = faiss_library()
    if count == k:
        return singles(rows, slice(0, k))
    centroids = _drawn(rows, count, k, seed) if start is None else start.copy()
    if spherical:
        faiss.normalize_L2(centroids)
    for _ in range(iterations):
        index = (faiss.IndexFlatIP if spherical else faiss.IndexFlatL2)(rows.shape[1])
        index.add(centroids)
        near = _nearest(centroids, index, device if spherical else None)
        centroids = _moved(rows, count, index, near)
        if spherical:
            faiss.normalize_L2(centroids)
    return centroids


def _drawn(rows: Rows, count: int, k: int, seed: int) -> Matrix:
    faiss = faiss_library()
    order = np.empty(count, np.int32)
    faiss.rand_perm(faiss.swig_ptr(order), count, seed + 1)
    chosen = [singles(rows, slice(row, row + 1)) for row in order[:k].tolist()]
    return np.concatenate(chosen)


def _nearest(centroids: Matrix, index: Any, device: Device | None) -> Nearest:
    """Return what tells the nearest centroid of each row of a block."""
    if device is None:
        return lambda block: index.search(block, 1)[1][:, 0]
    placed = device.placed(centroids)

    def near(block: Matrix) -> npt.NDArray[np.int64]:
        ids = np.zeros(len(block), np.int64)
        times = np.zeros(len(block), np.int64)
        least = np.full(len(block), -np.inf, np.float32)
        for some in device.nominated(block, placed, None, least):
            ids[some.rows] = some.candidates
            times += np.bincount(some.rows, minlength=len(block))
        unsure = np.flatnonzero(times != 1)
        if len(unsure):
            ids[unsure] = index.search(block[unsure], 1)[1][:, 0]
        return ids

    return near


def _moved(rows: Rows, count: int, index: Any, near: Nearest) -> Matrix:
    """Return the means of the rows that are nearest to each of the index's vectors."""

    faiss, several = faiss_library(), available_cores() > 1

    def assigned(some: slice) -> tuple[Matrix, npt.NDArray[np.int64]]:
        if several:
            # Of this thread alone: others are at work.
            faiss.omp_set_num_threads(1)
        block = singles(rows, some)
        return block, near(block)

    sums = np.zeros((index.ntotal, index.d), np.float32)
    sizes = np.zeros(index.ntotal, np.float32)
    for block, nearest in side_by_side(assigned, blocks(rows, count)):
        _add(block, nearest, sums, sizes)
    filled = sizes > 0
    sums[filled] *= (np.float32(1) / sizes[filled])[:, None]
    _divide_large(sums, sizes, count)
    return sums


@compiled
def _add(
    rows: npt.NDArray[np.float32],
    nearest: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float32],
    sizes: npt.NDArray[np.float32],
) -> None:
    """Add each row to its centroid's sum, one after the other."""
    for i in range(len(rows)):
        centroid = nearest[i]
        sizes[centroid] += np.float32(1)
        for j in range(rows.shape[1]):
            sums[centroid, j] += rows[i, j]


def _divide_large(centroids: Matrix, sizes: Matrix, count: int) -> None:
    """Give each empty cluster one half of another, drawn by size."""
    draws = _draws()
    others = np.float32(count - len(sizes))
    for empty in np.flatnonzero(sizes == 0).tolist():
        other = 0
        while next(draws) >= np.float32((float(sizes[other]) - 1) / float(others)):
            other = (other + 1) % len(sizes)
        centroids[empty] = centroids[other]
        apart = np.where(np.arange(centroids.shape[1]) % 2 == 0, _APART, -_APART)
        centroids[empty] *= 1 + apart
        centroids[other] *= 1 - apart
        sizes[empty] = sizes[other] / 2
        sizes[other] -= sizes[empty]


def _draws() -> Iterator[np.float32]:
    generator = np.random.RandomState(_SPLIT_SEED)
    while True:
        drawn = generator.randint(0, 2**32, _DRAWN, dtype=np.uint32)
        yield from drawn.astype(np.float32) / _LARGEST
