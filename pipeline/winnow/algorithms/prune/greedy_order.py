"""Greedy orders of rows, of which every beginning is the greedy choice at that size.

Facility location f(S) = Σ_y max(0, max_{x ∈ S} cos(x, y)) is submodular, so that a
greedy choice has at least 1 − 1/e of the best f (Nemhauser, Wolsey & Fisher 1978), and
what a row would add only falls: rows are weighed again only while the last known gain
could still be the largest (lazy evaluation, Minoux 1978). Farthest first (Gonzalez
1985) covers within twice the best radius.

Cosines are whole numbers (`algorithms.whole_numbers`), the same in any order of
addition. What is equal goes to the lower row, so that rows in order of uid break ties
on it; and since gains never rise, sorting by (gain, uid) gives the order back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.whole_numbers import ONE, Floats, Ints, WholeNumbers

#: Below the distance that the first row of an order has.
_OPPOSITE = np.nextafter(2.0, 0.0)


def facility_location(
    vectors: npt.NDArray[np.floating], most: int
) -> tuple[Ints, Floats]:
    """Return the first `most` rows in greedy order, and what each of them added.

    vectors: (n, dim) of any norm above 0. Returns (most,) rows and gains, the latter in
    units of cosine. Memory: the vectors as float64, and 128 MiB of products.
    """
    numbers = WholeNumbers(vectors)
    gains = _first_gains(numbers)
    nearest = np.zeros(len(numbers))
    fresh = np.ones(len(numbers), np.bool_)
    order = np.empty(most, np.int64)
    added = np.empty(most)
    width = min(32, numbers.block)
    for step in range(most):
        while not fresh[best := int(gains.argmax())]:
            stale = np.where(fresh, -1.0, gains)
            some = np.argpartition(stale, -min(width, len(stale)))[-width:]
            some = some[~fresh[some] & (gains[some] >= 0)]
            raised = np.maximum(numbers.products(some) - nearest, 0.0)
            gains[some] = raised.sum(axis=1)
            fresh[some] = True
        order[step], added[step] = best, gains[best]
        nearest = np.maximum(nearest, numbers.products(np.array([best]))[0])
        gains[best] = -1.0
        fresh[:] = False
        fresh[gains < 0] = True
    return order, added / ONE


def _first_gains(numbers: WholeNumbers) -> Floats:
    gains = np.empty(len(numbers))
    for start in range(0, len(numbers), numbers.block):
        part = slice(start, start + numbers.block)
        gains[part] = np.maximum(numbers.products(part), 0.0).sum(axis=1)
    return gains


def farthest_first(
    vectors: npt.NDArray[np.floating], first: int, most: int
) -> tuple[Ints, Floats]:
    """Return the first `most` rows, each the farthest from those before it.

    vectors: (n, dim) of any norm above 0; first: the row to begin with. Returns (most,)
    rows, and their distances 1 − cosine to the nearest row before: no row is farther
    than that from those before. That of the first is 2, the largest there is.
    """
    numbers = WholeNumbers(vectors)
    nearest = np.full(len(numbers), -ONE)  # before any row is chosen
    order = np.empty(most, np.int64)
    distance = np.empty(most)
    chosen = first
    for step in range(most):
        order[step] = chosen
        distance[step] = min(1.0 - nearest[chosen] / ONE, _OPPOSITE)
        nearest = np.maximum(nearest, numbers.products(np.array([chosen]))[0])
        nearest[chosen] = np.inf
        chosen = int(nearest.argmin())
    distance[:1] = 2.0
    return order, distance
