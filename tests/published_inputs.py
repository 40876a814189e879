"""Small inputs on which the published code of each method was run.

Made from Python's `random()`, whose stream does not change between versions. Rows stand
around eight directions, of unequal number; some repeat another nearly or to the bit.
"""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

DIM = 16
#: Rows of each cluster; the last one is a cluster of one row.
SIZES = (60, 45, 31, 23, 18, 13, 9, 1)
SPREADS = (0.9, 0.5, 1.4, 0.7, 0.3, 1.1, 0.6, 0.5)
ROWS = sum(SIZES)


def _numbers(seed: int, *shape: int) -> npt.NDArray[np.float64]:
    stream = random.Random(seed)
    flat = [stream.random() - 0.5 for _ in range(int(np.prod(shape)))]
    return np.array(flat).reshape(shape)


def _unit(vectors: npt.NDArray[np.float64]) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / norms).astype(np.float32)


def centroids() -> Vectors:
    """Return the (8, 16) unit centroids: two of them lie close together."""
    directions = _numbers(1, len(SIZES), DIM)
    directions[5] = directions[4] + 0.3 * directions[5]
    return _unit(directions)


def images() -> Vectors:
    """Return (200, 16) unit vectors; rows 3, 70 and 150 repeat the row before."""
    around = np.repeat(centroids(), SIZES, axis=0).astype(np.float64)
    spread = np.repeat(SPREADS, SIZES)[:, None]
    rows = around + spread * _numbers(2, ROWS, DIM)
    near = range(10, 190, 7)
    for row in near:
        rows[row] = rows[row - 1] + 0.1 * rows[row]
    unit = _unit(rows)
    for row in (3, 70, 150):
        unit[row] = unit[row - 1]
    return unit


def texts() -> Vectors:
    """Return a caption vector for each image, those of rows 20 and 21 the image's."""
    unit = _unit(images() + 0.9 * _numbers(3, ROWS, DIM))
    unit[20:22] = images()[20:22]
    return unit


def targets() -> Vectors:
    """Return 30 target vectors, half of them opposite to where the images lie."""
    signs = np.where(np.arange(30) % 2, 1.0, -1.0)[:, None]
    around = np.resize(centroids()[:3], (30, DIM))
    return _unit(signs * around + 0.8 * _numbers(4, 30, DIM))


def nearest() -> npt.NDArray[np.int32]:
    """Return each image's nearest centroid."""
    return np.argmax(images() @ centroids().T, axis=1).astype(np.int32)


def uids() -> list[str]:
    """Return each row's uid; their order is that of the rows."""
    return [f"{row:032x}" for row in range(ROWS)]


def logits() -> npt.NDArray[np.float64]:
    """Return the scores of eight rows to draw from."""
    return np.round(4 * _numbers(5, 8), 3)


def many_clusters() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return sizes and complexities of 300 clusters."""
    numbers = _numbers(6, 2, 300) + 0.5
    sizes = np.floor(20 + 400 * numbers[0] ** 2).astype(np.int64)
    return sizes, np.round(0.05 + 0.3 * numbers[1], 4)
