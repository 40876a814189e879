"""Upper bounds of cosines from fewer numbers.

A projection on orthonormal directions lengthens no distance, and unit vectors with a
cosine of s are √(2 − 2s) apart. So s is at most 1 less half of the squared distance of
what is left of the two.
"""

from __future__ import annotations

import numpy as np

from winnow.algorithms.cosine import Singles

#: Directions; of vectors with fewer than twice as many numbers there is little to save.
_DIRECTIONS = 64


def directions(units: Singles) -> Singles | None:
    """Return the directions in which unit vectors differ most: (dim, 64), orthonormal.

    units: (m, dim). None where dim is below 128.
    """
    if units.shape[1] < 2 * _DIRECTIONS:
        return None
    centred = units.astype(np.float64) - units.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(vectors[:, -_DIRECTIONS:], np.float32)


def bounded(units: Singles, basis: Singles) -> tuple[Singles, Singles]:
    """Return two matrices (m, 66) of unit vectors, a left and a right one.

    The product of a row of some vectors' left one and a row of others' right one is the
    upper bound of their cosine, but for rounding.
    """
    short = units @ basis
    half = np.einsum("ij,ij->i", short, short)[:, None] / 2
    one = np.ones_like(half)
    return np.hstack([short, 1 - half, one]), np.hstack([short, one, -half])
