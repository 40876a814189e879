"""A budget spread evenly over a tree of clusters.

Vo et al. 2024 (arXiv 2405.15613): k-means of k-means centroids, each level of fewer
clusters and clustered again by the members nearest to its centroids, so that centroids
spread over what there is and not where most of it lies; then, from the top down, each
cluster's part of the budget is shared equally among its children.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from winnow.algorithms.prune.prototypes import uniform_counts

Counts = npt.NDArray[np.int64]
Parents = npt.NDArray[np.int32]


def nearest_members(
    parents: Parents, distances: npt.NDArray[np.float64], most: int
) -> npt.NDArray[np.int64]:
    """Return the rows that are among the `most` nearest of their cluster, ascending.

    parents: (n,) clusters; distances: (n,) to their centroids. Ties go to lower rows.
    """
    order = np.lexsort((distances, parents))
    first = np.searchsorted(parents[order], parents[order])
    return np.sort(order[np.arange(len(order)) - first < most])


def tree_counts(sizes: Counts, levels: Sequence[Parents], count: int) -> Counts:
    """Return how many rows each lowest cluster gives: (k,), summing to `count`.

    sizes: (k,) rows of the lowest clusters; levels: for each level from the lowest to
    the top, which cluster of it each cluster below belongs to. What a child cannot fill
    is shared equally by the others of its parent (water-filling), remainders go to
    lower numbers. Raises ValueError if `count` is more than all rows.

    >>> sizes, parents = np.array([90, 5, 5]), np.array([0, 0, 1])
    >>> tree_counts(sizes, [parents], 12).tolist()
    [3, 4, 5]
    """
    if not levels:
        return uniform_counts(sizes, count)
    parents = levels[0]
    above = np.bincount(parents, sizes, int(parents.max(initial=-1)) + 1)
    shares = tree_counts(above.astype(np.int64), levels[1:], count)
    counts = np.zeros(len(sizes), np.int64)
    for parent, share in enumerate(shares.tolist()):
        children = np.flatnonzero(parents == parent)
        counts[children] = uniform_counts(sizes[children], share)
    return counts
