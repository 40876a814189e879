"""Upper bounds of cosines from fewer numbers.

In orthonormal directions a vector x has a part Px, and a rest Rx at right angles to all
of them. So x·y = Px·Py + Rx·Ry, at most Px·Py + |Rx|·|Ry| (Cauchy and Schwarz): a
product of vectors of one number more than there are directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

#: Directions; of vectors with fewer than twice as many numbers there is little to save.
_DIRECTIONS = 64
# Where more of the bounds nominate a pair, products cost less than what follows.
_DENSE = 0.02
# Above the error of a rest's square: what is left of 1 by the squares of 64 numbers.
_ROUNDING = 1e-6


def directions(units: Singles) -> Singles | None:
    """Return the directions in which unit vectors differ most: (dim, 64), orthonormal.

    units: (m, dim). None where dim is below 128.
    """
    if units.shape[1] < 2 * _DIRECTIONS:
        return None
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
    if targets.basis is not None:
        short = bounded(rows.unit, targets.basis)
        bounds = products_into(scratch, short, targets.short)
        each = least if isinstance(least, float) else least[::32]
        if np.mean(bounds[::32] >= each - SLACK) <= _DENSE:
            return bounds
    return products_into(scratch, rows.unit, targets.rows.unit)


def nominees(nominated: Singles, least: float | Floats) -> Ids:
    """Return row · k + column of the numbers that are `least` − SLACK or more, (n,).

    Ascending. nominated: (m, k); least: as for `nominating`.
    """
    bar = np.asarray(least - SLACK, np.float32)
    return np.flatnonzero(nominated >= bar)
