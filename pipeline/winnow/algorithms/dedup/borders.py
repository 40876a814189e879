"""Which clusters a row is near to, and which nearness finds the duplicates across them.

A row x of cluster a has the margin (cos(x, a) − cos(x, b)) / |a − b| to cluster b: its
distance to the plane between the two, of unit centroids. Two rows of different clusters
are at least as far apart as their margins together, so that rows with a cosine of s
have a margin of √(2 − 2s) / 2 or less, one of the two; and mostly far less, since the
difference of two rows seldom points from one centroid to another.

All margins that could decide something are float64 in a fixed order of addition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    SLACK,
    Floats,
    Ids,
    Singles,
    VectorRows,
    Vectors,
    dot,
    exact_cosine,
    prepare,
)
from winnow.numeric.compiled import compiled

#: Other clusters that a row is measured to, those nearest to the one it is assigned to,
#: and how many of them it may be counted to.
NEAREST, MOST = 32, 7
#: Margins of which one is chosen.
MARGINS = np.array([0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2])

Clusters = npt.NDArray[np.int32]


class Borders(NamedTuple):
    """Centroids with those next to each; see `borders`.

    centroids: k, prepared; near: (k, c) the nearest others of each; gaps: (k, c) their
    distances.
    """

    centroids: VectorRows
    near: Clusters
    gaps: Floats


def borders(centroids: Vectors) -> Borders:
    """Return each centroid with the nearest others, (k, dim) of any norms above 0."""
    rows = prepare(centroids)
    exact = np.asarray(rows.exact, np.float64)
    unit = exact / np.sqrt(rows.squares)[:, None]
    count = min(NEAREST, len(unit) - 1)
    near = np.empty((len(unit), count), np.int32)
    gaps = np.empty((len(unit), count))
    for number, centroid in enumerate(unit):
        gap = np.sqrt(((unit - centroid) ** 2).sum(axis=1))
        gap[number] = np.inf
        near[number] = np.argsort(gap, kind="stable")[:count]
        gaps[number] = np.maximum(gap[near[number]], 1e-9)
    return Borders(rows, near, gaps)


def margins(
    rows: VectorRows, assigned: Clusters, known: Borders
) -> tuple[Clusters, Floats]:
    """Return the clusters that rows are nearest to, and the margins to them.

    assigned: (m,) the rows' clusters. Both results are (m, at most 1 + MOST), by
    ascending margin; the first is the row's own cluster, at 0.
    """
    to_others = np.empty((len(rows), known.near.shape[1]))
    centroids = known.centroids
    _measure(
        (rows.exact, rows.squares),
        assigned,
        (centroids.exact, centroids.squares),
        (known.near, known.gaps),
        to_others,
    )
    order = np.argsort(to_others, axis=1, kind="stable")[:, :MOST]
    clusters = np.take_along_axis(known.near[assigned], order, axis=1)
    others = np.maximum(np.take_along_axis(to_others, order, axis=1), 0.0)
    return (
        np.concatenate([assigned[:, None], clusters], axis=1).astype(np.int32),
        np.concatenate([np.zeros((len(rows), 1)), others], axis=1),
    )


@compiled
def _measure(
    rows: tuple[Vectors, Floats],
    assigned: Clusters,
    centroids: tuple[Vectors, Floats],
    known: tuple[Clusters, Floats],
    out: Floats,
) -> None:
    exact, squares = rows
    centroid_exact, centroid_squares = centroids
    near, gaps = known
    terms = np.zeros(exact.shape[1] + 1)
    for r in range(len(exact)):
        cluster = assigned[r]
        to_own = exact_cosine(
            exact[r],
            squares[r],
            centroid_exact[cluster],
            centroid_squares[cluster],
            terms,
        )
        for c in range(near.shape[1]):
            other = near[cluster, c]
            product = dot(exact[r], centroid_exact[other], terms)
            cosine = product / np.sqrt(squares[r] * centroid_squares[other])
            out[r, c] = (to_own - cosine) / gaps[cluster, c]


@compiled
def count_pairs(
    products: Singles,
    rows: tuple[Vectors, Floats, Ids, Clusters, Floats],
    sample: tuple[Vectors, Floats, Ids, Clusters, Floats],
    bar: float,
    levels: Floats,
    counts: Ids,
) -> None:
    """Count pairs of at least `bar` by the least of `levels` that brings them together.

    products: rows × sample. rows, sample: exact vectors, squares, numbers, and their
    clusters and margins. counts: (levels + 1,), the last of pairs that no level does.
    """
    exact, squares, numbers, clusters, margin = rows
    other_exact, other_squares, other_numbers, other_clusters, other_margin = sample
    terms = np.zeros(exact.shape[1] + 1)
    low, high = np.float32(bar - SLACK), np.float32(bar + SLACK)
    for r in range(len(products)):
        for s in range(products.shape[1]):
            if products[r, s] < low or numbers[r] == other_numbers[s]:
                continue
            if products[r, s] <= high:
                value = exact_cosine(
                    exact[r], squares[r], other_exact[s], other_squares[s], terms
                )
                if value < bar:
                    continue
            least = np.inf
            for i in range(clusters.shape[1]):
                for j in range(other_clusters.shape[1]):
                    if clusters[r, i] == other_clusters[s, j]:
                        least = min(least, max(margin[r, i], other_margin[s, j]))
            counts[np.searchsorted(levels, least)] += 1


@compiled
def pairs_of_tile(
    tile: tuple[Singles, Ids, Ids],
    rows: tuple[Vectors, Floats],
    earlier: tuple[Vectors, Floats],
    least: float,
) -> tuple[Ids, Ids]:
    """Return the numbers of the later and the earlier row of pairs above `least`.

    tile: products of rows and candidates, and the numbers of both.
    """
    products, numbers, others = tile
    exact, squares = rows
    earlier_exact, earlier_squares = earlier
    terms = np.zeros(exact.shape[1] + 1)
    bar = np.float32(least - SLACK)
    # A list needs a first element to have a type.
    later: Any = [np.int64(0)]
    before: Any = [np.int64(0)]
    for r in range(len(products)):
        for c in range(products.shape[1]):
            if others[c] >= numbers[r] or products[r, c] < bar:
                continue
            value = exact_cosine(
                exact[r], squares[r], earlier_exact[c], earlier_squares[c], terms
            )
            if value > least:
                later.append(numbers[r])
                before.append(others[c])
    return np.array(later)[1:], np.array(before)[1:]


@compiled
def first_come(later: Ids, earlier: Ids, keep: npt.NDArray[np.bool_]) -> None:
    """Decide rows in order: one goes if an earlier row of a pair with it is kept.

    later, earlier: the pairs, by ascending `later`. keep: flags, all set before.
    """
    for i in range(len(later)):
        if keep[earlier[i]]:
            keep[later[i]] = False
