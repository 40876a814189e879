"""Assign vectors to their nearest centroids, the same way on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    Best,
    Floats,
    Ids,
    Singles,
    VectorRows,
    Vectors,
    exact_cosine,
    pairwise,
    prepare,
    products_into,
)
from winnow.algorithms.cosine_bounds import Targets, as_targets, bounded, nominees
from winnow.numeric.compiled import compiled
from winnow.numeric.device import Device

# Large enough that threads of the BLAS do not wait for each other more than they work;
# 4 MB of products. Measured with 447 to 3,162 centroids of 256 numbers.
_ROWS, _CENTROIDS = 2048, 512
# An exact cosine takes as long as the float32 products of so many pairs, or more.
_MOST = 40
# Rows of one call of a device; 32 MB of 1,024 numbers.
_DEVICE_ROWS = 8192
# Of fewer centroids the products are no more than what the bounds need beside them.
_FEW = 256


def nearest_centroid(
    vectors: Vectors,
    centroids: Singles | Targets,
    *,
    block: int | None = None,
    device: Device | None = None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return each row's nearest centroid by cosine, and its cosine distance.

    vectors: (n, dim) of any float type; centroids: (k, dim); any norms above 0, both
    divided out, or what `as_targets` made of them, for many calls. Returns clusters,
    (n,) int32, and 1 − cosine, (n,) float64. Ties go to the lower cluster id. Bounds or
    float32 products nominate; the decision and the distance are float64 (see
    `algorithms.cosine`), so neither depends on the batches that rows come in. Memory
    beyond the result is that of `block` rows, some 4 MB where it is not given.

    Of vectors with 128 numbers or more, 65 bound a cosine (`algorithms.cosine_bounds`):
    a quarter of the products, where the bounds leave few centroids to look at.

    device: makes all products, and nominates by them, if there is one.

    Raises ValueError if a row or a centroid is zero or not finite.
    """
    targets = (
        centroids
        if isinstance(centroids, Targets)
        else as_targets(np.asarray(centroids))
    )
    if not len(targets):
        raise ValueError("there are no centroids to assign to")
    if device is not None:
        return _on_device(vectors, targets.rows, block or _DEVICE_ROWS, device)
    by_bounds = targets.basis is not None and len(targets) >= _FEW
    tile = len(targets) if by_bounds else min(len(targets), _CENTROIDS)
    block = block or max(1, min(_ROWS, _ROWS * _CENTROIDS // tile))
    scratch = np.empty(block * tile, np.float32)
    clusters = np.empty(len(vectors), np.int32)
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), block):
        part = slice(start, start + block)
        rows = prepare(vectors[part])
        near = _by_bounds(rows, targets, scratch) if by_bounds else None
        # Rows of one pool are alike: what did not pay once is not tried again.
        by_bounds = near is not None
        cosine, ids = near or _by_products(rows, targets.rows, scratch)
        clusters[part] = ids
        distances[part] = 1 - cosine
    return clusters, distances


def _on_device(
    vectors: Vectors, targets: VectorRows, block: int, device: Device
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    clusters = np.empty(len(vectors), np.int32)
    distances = np.empty(len(vectors))
    units, ids = device.placed(targets.unit), np.arange(len(targets))
    for start in range(0, len(vectors), block):
        part = slice(start, start + block)
        best = Best(prepare(vectors[part]), device=device)
        best.see_placed(targets, ids, None, units)
        clusters[part] = best.ids
        distances[part] = 1 - best.cosine
    return clusters, distances


def _by_products(
    rows: VectorRows, targets: VectorRows, scratch: Singles
) -> tuple[Floats, Ids]:
    best = Best(rows)
    ids = np.arange(len(targets))
    first = np.zeros(len(targets), np.int64)
    for tile in range(0, len(targets), _CENTROIDS):
        some = slice(tile, tile + _CENTROIDS)
        best.see(targets[some], ids[some], first[some], scratch)
    return best.cosine, best.ids


def _by_bounds(
    rows: VectorRows, targets: Targets, scratch: Singles
) -> tuple[Floats, Ids] | None:
    """Return the cosines and the numbers of the nearest targets.

    None where bounds leave so many that products cost less.
    """
    assert targets.basis is not None
    bounds = products_into(scratch, bounded(rows.unit, targets.basis), targets.short)
    ids = bounds.argmax(axis=1)
    known = targets.rows
    highest = VectorRows(known.exact[ids], known.unit[ids], known.squares[ids])
    cosine = pairwise(rows, highest)
    others = nominees(bounds, cosine[:, None])
    if len(others) > bounds.size // _MOST:
        return None
    given = (rows.exact, rows.squares)
    _improve(others, given, (known.exact, known.squares), cosine, ids)
    return cosine, ids


@compiled
def _improve(
    nominated: Ids,
    rows: tuple[Vectors, Floats],
    targets: tuple[Vectors, Floats],
    cosine: Floats,
    ids: Ids,
) -> None:
    """Compare rows with what is nominated for them, ties going to the lower number."""
    exact, squares = rows
    target, target_squares = targets
    terms = np.zeros(exact.shape[1] + 1)
    for pair in nominated:
        r, c = divmod(pair, len(target))
        if c == ids[r]:
            continue
        value = exact_cosine(exact[r], squares[r], target[c], target_squares[c], terms)
        if value > cosine[r] or (value == cosine[r] and c < ids[r]):
            cosine[r], ids[r] = value, c


def nearest_by_product(vectors: Vectors, centroids: Singles) -> npt.NDArray[np.int32]:
    """Return each row's centroid of the largest inner product: (n,) int32.

    Arguments and errors as of `nearest_centroid`. Unlike there, a longer centroid wins
    over a shorter one in the same direction; k-means that is not spherical has such.
    With a further number √(M² − |c|²), M the longest of all, every centroid has length
    M, and rows that have a 0 there rank them by cosine as they do by product.
    """
    doubles = np.asarray(centroids, np.float64)
    squares = np.einsum("ij,ij->i", doubles, doubles)
    if not np.isfinite(squares).all():
        raise ValueError("a centroid is not finite")
    rest = np.sqrt(squares.max(initial=0.0) - squares)
    longer = np.concatenate([vectors, np.zeros((len(vectors), 1), vectors.dtype)], 1)
    clusters, _ = nearest_centroid(longer, np.column_stack([doubles, rest]))
    return clusters
