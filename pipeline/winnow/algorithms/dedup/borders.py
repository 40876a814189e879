"""Which clusters a row is near to, and which nearness finds the duplicates across them.

A row x of cluster a has the margin (cos(x, a) − cos(x, b)) / |a − b| to cluster b: its
distance to the plane between the two, of unit centroids. Two rows of different clusters
are at least as far apart as their margins together, so that rows with a cosine of s
have a margin of √(2 − 2s) / 2 or less, one of the two; and mostly far less, since the
difference of two rows seldom points from one centroid to another.

All margins that could decide something are float64 in a fixed order of addition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    SLACK,
    Floats,
    Ids,
    Singles,
    VectorRows,
    Vectors,
    exact_cosine,
    pairwise,
)
from winnow.algorithms.cosine_bounds import Angles, Targets, nominating, nominees
from winnow.numeric.compiled import compiled

#: Clusters that a row's borders are measured with, of all those nearest to the row, and
#: how many of them it may be counted to.
NEAREST, MOST = 32, 15
#: Margins of which one is chosen.
MARGINS = np.array(
    [0, 0.003, 0.006, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2]
)
#: Numbers of one product of rows and centroids.
_PRODUCT = 1 << 20
# Products that are looked through at a time.
_SCANNED = 256
# Above the error of two cosines in float64.
_ROUNDING = 1e-12

Clusters = npt.NDArray[np.int32]


def margins(
    rows: VectorRows, assigned: Clusters, centroids: Targets, limit: float
) -> tuple[Clusters, Floats]:
    """Return the clusters that rows have a border with, and the margins to them.

    assigned: (m,) the rows' clusters; limit: margins above it do not count. Both
    results are (m, 1 + MOST), by ascending margin; the first is the row's own cluster,
    at 0. Where there are fewer, the cluster is −1 and the margin infinite.
    """
    clusters = np.full((len(rows), 1 + MOST), -1, np.int32)
    distances = np.full((len(rows), 1 + MOST), np.inf)
    size = max(1, _PRODUCT // max(len(centroids), 1))
    scratch = np.empty(min(size, len(rows)) * len(centroids), np.float32)
    known = centroids.rows
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        mine, home = rows[part], assigned[part]
        of_own = VectorRows(known.exact[home], known.unit[home], known.squares[home])
        to_own = pairwise(mine, of_own)
        # Two centroids are at most 2 apart, so a margin up to the limit is a difference
        # of cosines up to twice as much, but for rounding.
        least = to_own - (2.0 * limit + _ROUNDING)
        some, ids = _candidates(mine, home, centroids, 2.0 * limit)
        nominated = nominating(mine, some, least[:, None], scratch)
        _measure(
            nominees(nominated, least[:, None]),
            (mine.exact, mine.squares),
            (np.searchsorted(ids, home).astype(np.int32), to_own, least),
            (some.rows.exact, some.rows.squares),
            limit,
            (clusters[part], distances[part]),
        )
        there = clusters[part] >= 0
        clusters[part][there] = ids[clusters[part][there]]
    return clusters, distances


def _candidates(
    rows: VectorRows, homes: Clusters, centroids: Targets, less: float
) -> tuple[Targets, Ids]:
    """Return the centroids that rows may be near to, and their numbers, ascending."""
    angles = Angles(rows, homes, centroids.rows)
    if angles.few:
        ids = angles.nearer(centroids.rows, less)
        if 2 * len(ids) <= len(centroids):
            return centroids.of(ids), ids
    return centroids, np.arange(len(centroids))


@compiled
def _measure(
    nominated: Ids,
    rows: tuple[Vectors, Floats],
    homes_of: tuple[Clusters, Floats, Floats],
    centroids: tuple[Vectors, Floats],
    limit: float,
    out: tuple[Clusters, Floats],
) -> None:
    exact, squares = rows
    homes, to_own, least = homes_of
    centres, centre_squares = centroids
    clusters, distances = out
    terms = np.zeros(exact.shape[1] + 1)
    near, cosines = np.empty(NEAREST, np.int64), np.empty(NEAREST)
    first = 0
    for r in range(len(exact)):
        home, last = homes[r], first
        while last < len(nominated) and nominated[last] < (r + 1) * len(centres):
            last += 1
        row = (exact[r], squares[r], home, least[r])
        others = nominated[first:last] - r * len(centres)
        count = _nearest(others, row, centroids, (near, cosines), terms)
        first = last
        clusters[r, 0], distances[r, 0] = home, 0.0
        of_own = (centres[home], centre_squares[home])
        for i in range(count):
            other = near[i]
            of_other = (centres[other], centre_squares[other])
            between = exact_cosine(
                of_own[0], of_own[1], of_other[0], of_other[1], terms
            )
            gap = max(np.sqrt(max(2.0 - 2.0 * between, 0.0)), 1e-9)
            margin = max((to_own[r] - cosines[i]) / gap, 0.0)
            if margin <= limit:
                _put(clusters[r], distances[r], other, margin)


@compiled
def _nearest(
    nominated: Ids,
    row: tuple[Vectors, float, int, float],
    centroids: tuple[Vectors, Floats],
    out: tuple[Ids, Floats],
    terms: Floats,
) -> int:
    """List the NEAREST others whose cosine is at least that; return how many."""
    exact, square, home, least = row
    centres, centre_squares = centroids
    near, cosines = out
    count = 0
    for c in nominated:
        if c == home:
            continue
        value = exact_cosine(exact, square, centres[c], centre_squares[c], terms)
        position = count
        while position and cosines[position - 1] < value:
            position -= 1
        if value < least or position == NEAREST:
            continue
        count = min(count + 1, NEAREST)
        for i in range(count - 1, position, -1):
            near[i], cosines[i] = near[i - 1], cosines[i - 1]
        near[position], cosines[position] = c, value
    return count


@compiled
def _put(clusters: Clusters, distances: Floats, other: int, margin: float) -> None:
    """Put a cluster in its place by (margin, number), behind the row's own."""
    position = len(distances)
    while position > 1 and (
        distances[position - 1] > margin
        or (distances[position - 1] == margin and clusters[position - 1] > other)
    ):
        position -= 1
    for i in range(len(distances) - 1, position, -1):
        clusters[i], distances[i] = clusters[i - 1], distances[i - 1]
    if position < len(distances):
        clusters[position], distances[position] = other, margin


@compiled
def count_levels(
    one: tuple[Clusters, Floats],
    other: tuple[Clusters, Floats],
    levels: Floats,
    counts: Ids,
) -> None:
    """Count pairs by the least of `levels` that brings them together.

    one, other: of n pairs, the clusters and margins of both rows, each (n, 1 + MOST).
    counts: (levels + 1,), the last of pairs that no level does.
    """
    clusters, margin = one
    other_clusters, other_margin = other
    for p in range(len(clusters)):
        least = np.inf
        for i in range(clusters.shape[1]):
            for j in range(other_clusters.shape[1]):
                if clusters[p, i] == other_clusters[p, j]:
                    least = min(least, max(margin[p, i], other_margin[p, j]))
        counts[np.searchsorted(levels, least)] += 1


@compiled
def pairs_of_tile(
    tile: tuple[Singles, Ids, Ids],
    rows: tuple[Vectors, Floats],
    earlier: tuple[Vectors, Floats],
    least: float,
) -> tuple[Ids, Ids]:
    """Return the positions of the later and the earlier row of pairs above `least`.

    tile: products of rows and candidates, or upper bounds of their cosines, and the
    numbers of both.
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
        for start in range(0, products.shape[1], _SCANNED):
            part = products[r, start : start + _SCANNED]
            # Nearly always none: counted without a branch, many at a time.
            passing = np.int32(0)
            for c in range(len(part)):
                passing += np.int32(part[c] >= bar)
            if not passing:
                continue
            for c in range(start, start + len(part)):
                if products[r, c] < bar or others[c] >= numbers[r]:
                    continue
                cosine = exact_cosine(
                    exact[r], squares[r], earlier_exact[c], earlier_squares[c], terms
                )
                if cosine > least:
                    later.append(np.int64(r))
                    before.append(np.int64(c))
    return np.array(later)[1:], np.array(before)[1:]


@compiled
def first_come(later: Ids, earlier: Ids, keep: npt.NDArray[np.bool_]) -> None:
    """Decide rows in order: one goes if an earlier row of a pair with it is kept.

    later, earlier: the pairs, by ascending `later`. keep: flags, all set before.
    """
    for i in range(len(later)):
        if keep[earlier[i]]:
            keep[later[i]] = False
