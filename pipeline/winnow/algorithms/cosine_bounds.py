"""Upper bounds of cosines from fewer numbers.

In orthonormal directions a vector x has a part Px, and a rest Rx at right angles to all
of them. So x·y = Px·Py + Rx·Ry, at most Px·Py + |Rx|·|Ry| (Cauchy and Schwarz): a
product of vectors of one number more than there are directions.

And two vectors differ in direction by no less than their angles to a third one do, so
that of rows of one cluster and vectors elsewhere the angles to its centroid tell much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    SLACK,
    Floats,
    Ids,
    Singles,
    VectorRows,
    Vectors,
    prepare,
    products_into,
)
from winnow.numeric.threads import one_blas_thread

#: Directions; of vectors with fewer than twice as many numbers there is little to save.
_DIRECTIONS = 64
# Where more of the bounds nominate a pair, products cost less than what follows.
_DENSE = 0.02
_TOLD_BY = 32
# Of fewer targets the products are no more than what bounds need beside them.
_FEW = 128
# Targets of one product; 4 MB of products with as many rows.
_WIDTH = 1024
# Of more clusters among some rows, angles to all centroids cost what they save.
_MOST_LABELS = 32
# Radians; above the error of an angle that float32 products tell.
_ANGLE = 0.01
# Above the error of a rest's square: what is left of 1 by the squares of 64 numbers.
_ROUNDING = 1e-6


def directions(units: Singles) -> Singles | None:
    """Return the directions in which unit vectors differ most: (dim, 64), orthonormal.

    units: (m, dim). None where dim is below 128.
    """
    if units.shape[1] < 2 * _DIRECTIONS:
        return None
    # Threads of a BLAS wait for each other longer than this takes one of them.
    with one_blas_thread():
        return _principal(units)


def _principal(units: Singles) -> Singles:
    centred = units.astype(np.float64) - units.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(vectors[:, -_DIRECTIONS:], np.float32)


def bounded(units: Singles, basis: Singles) -> Singles:
    """Return (m, 65) numbers of unit vectors whose products are no less than cosines.

    But for rounding, which `algorithms.cosine.SLACK` is above. basis: `directions`.
    """
    short = units @ basis
    rest = 1.0 + _ROUNDING - np.einsum("ij,ij->i", short, short)
    return np.hstack([short, np.sqrt(np.maximum(rest, 0))[:, None]])


@dataclass(frozen=True)
class Targets:
    """Vectors that many rows are compared with, prepared; such as centroids.

    rows: k of them. basis: their directions, or None; short: (k, 65) of `bounded`, or
    what `rows` has where there is no basis.
    """

    rows: VectorRows
    basis: Singles | None
    short: Singles

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, ids: Ids) -> Targets:
        """Return some of them, in the order of the ids."""
        rows = self.rows
        some = VectorRows(rows.exact[ids], rows.unit[ids], rows.squares[ids])
        short = some.unit if self.basis is None else self.short[ids]
        return Targets(some, self.basis, short)


def as_targets(vectors: Vectors) -> Targets:
    """Prepare (k, dim) vectors; raises ValueError if one is zero or not finite."""
    rows = prepare(vectors)
    basis = directions(rows.unit) if len(rows) else None
    short = rows.unit if basis is None else bounded(rows.unit, basis)
    return Targets(rows, basis, short)


def nominating(
    rows: VectorRows, targets: Targets, least: float | Floats, scratch: Singles
) -> Singles:
    """Return (m, k) numbers, `least` − SLACK or more where a cosine is `least` or more.

    Bounds, or float32 products where too many bounds nominate a pair. least: of all
    rows, or (m, 1) of each. scratch: is overwritten, m·k numbers or more.
    """
    return _nominated(rows, _short(rows, targets), targets, least, scratch)


def nominating_by_parts(
    rows: VectorRows, targets: Targets, least: float, scratch: Singles
) -> Iterator[tuple[slice, Singles]]:
    """Yield what `nominating` returns for some targets at a time: which, and numbers.

    scratch: m · 1,024 numbers or more; overwritten by what is yielded next.
    """
    short = _short(rows, targets)
    for start in range(0, len(targets), _WIDTH):
        part = slice(start, start + _WIDTH)
        some = Targets(targets.rows[part], targets.basis, targets.short[part])
        yield part, _nominated(rows, short, some, least, scratch)


def _short(rows: VectorRows, targets: Targets) -> Singles | None:
    if targets.basis is None or len(targets) <= _FEW:
        return None
    return bounded(rows.unit, targets.basis)


def _nominated(
    rows: VectorRows,
    short: Singles | None,
    targets: Targets,
    least: float | Floats,
    scratch: Singles,
) -> Singles:
    if short is not None:
        # Whether they are worth their products, some rows tell.
        some = short[::_TOLD_BY] @ targets.short.T
        each = least if isinstance(least, float) else least[::_TOLD_BY]
        if np.mean(some >= each - SLACK) <= _DENSE:
            return products_into(scratch, short, targets.short)
    return products_into(scratch, rows.unit, targets.rows.unit)


class Angles:
    """Angles of rows and of targets to the rows' own centroids.

    rows: m; labels: (m,) their centroids, by number.
    """

    def __init__(
        self, rows: VectorRows, labels: npt.NDArray[np.int32], centroids: VectorRows
    ) -> None:
        numbers, axis_of = np.unique(labels, return_inverse=True)
        self._axes = centroids.unit[numbers]
        self.few = len(numbers) <= _MOST_LABELS
        self._least = np.full(len(numbers), np.inf)
        self._widest = np.zeros(len(numbers))
        if self.few:
            angles = _angle(np.einsum("ij,ij->i", rows.unit, self._axes[axis_of]))
            np.minimum.at(self._least, axis_of, angles)
            np.maximum.at(self._widest, axis_of, angles)

    def within(self, targets: VectorRows, reach: float) -> Ids:
        """Return which targets may be at an angle of `reach` or less to a row."""
        return self._between(targets, self._least - reach, self._widest + reach)

    def nearer(self, targets: VectorRows, less: float) -> Ids:
        """Return which targets may have a cosine of a row's to its own, less `less`."""
        reach = np.arccos(np.maximum(np.cos(self._widest) - less, -1.0))
        return self._between(targets, -reach, self._widest + reach)

    def _between(self, targets: VectorRows, least: Floats, most: Floats) -> Ids:
        angles = _angle(self._axes @ targets.unit.T)
        near = angles >= (least - 2 * _ANGLE)[:, None]
        near &= angles <= (most + 2 * _ANGLE)[:, None]
        return np.flatnonzero(near.any(axis=0))


def _angle(cosine: Singles) -> Singles:
    return np.arccos(np.clip(cosine, -1, 1))


def nominees(nominated: Singles, least: float | Floats) -> Ids:
    """Return row · k + column of the numbers that are `least` − SLACK or more, (n,).

    Ascending. nominated: (m, k); least: as for `nominating`.
    """
    bar = np.asarray(least - SLACK, np.float32)
    return np.flatnonzero(nominated >= bar)
