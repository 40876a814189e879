"""What a verdict's clusters look like: the largest, their spread, whom they empty.

A cluster is a kept row with the rows dropped for it. Wrong deletions show here first:
one cluster that swallows a source, held together by pairs that are not alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from winnow.algorithms.dedup.verification import Verification


class DuplicateCluster(NamedTuple):
    """A kept row, how many rows went for it, and its least similar compared pair.

    `pair` is (larger row, smaller row) with its exact `jaccard`.
    """

    keeper: int
    removed: int
    pair: tuple[int, int]
    jaccard: float


class Removal(NamedTuple):
    """How many rows of one source go for one kept row, and the share they are of it."""

    keeper: int
    source: int
    removed: int
    share: float


def largest_clusters(verdict: Verification, count: int = 10) -> list[DuplicateCluster]:
    """Return the clusters that remove most, largest first, ties by keeper."""
    dropped = np.flatnonzero(verdict.keeper != np.arange(len(verdict.keeper)))
    keepers, removed = np.unique(verdict.keeper[dropped], return_counts=True)
    largest = np.lexsort((keepers, -removed))[:count]
    return [
        _cluster(verdict, int(keepers[i]), int(removed[i])) for i in largest.tolist()
    ]


def cluster_of(verdict: Verification, keeper: int) -> DuplicateCluster:
    """Return the cluster of one kept row; ValueError if nothing was dropped for it."""
    removed = int((verdict.keeper == keeper).sum()) - 1
    if removed < 1 or verdict.keeper[keeper] != keeper:
        raise ValueError(f"no row was dropped for row {keeper}")
    return _cluster(verdict, keeper, removed)


def _cluster(verdict: Verification, keeper: int, removed: int) -> DuplicateCluster:
    pairs = verdict.pairs
    inside = verdict.keeper[pairs.member] == keeper
    inside &= verdict.keeper[pairs.keeper] == keeper
    within = np.flatnonzero(inside)
    least = within[np.argmin(pairs.jaccard[within])]
    ends = int(pairs.member[least]), int(pairs.keeper[least])
    return DuplicateCluster(keeper, removed, ends, float(pairs.jaccard[least]))


def source_removals(
    keeper: npt.NDArray[np.int64], source: npt.NDArray[Any], count: int = 10
) -> list[Removal]:
    """Return which clusters take the largest share of a source's rows, worst first.

    `source[i]` is the code of row i's source. A source that one cluster takes most of
    is usually a template or boilerplate, seldom the same text that often.
    """
    dropped = np.flatnonzero(keeper != np.arange(len(keeper)))
    if not len(dropped):
        return []
    sources, rows = np.unique(source, return_counts=True)
    which = np.searchsorted(sources, source[dropped])
    both = np.stack([keeper[dropped], which], axis=1)
    found, removed = np.unique(both, axis=0, return_counts=True)
    share = removed / rows[found[:, 1]]
    worst = np.lexsort((found[:, 1], found[:, 0], -share))[:count]
    return [
        Removal(
            int(found[i, 0]),
            int(sources[found[i, 1]]),
            int(removed[i]),
            float(share[i]),
        )
        for i in worst.tolist()
    ]
