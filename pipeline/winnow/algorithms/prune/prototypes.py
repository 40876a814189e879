"""Self-supervised prototypes: prune by distance to the nearest centroid.

Sorscher et al. 2022, arXiv 2206.14486: a sample's difficulty is its cosine distance to
its centroid. Keep the hard ones when data is plentiful, the easy ones when it is
scarce, and let every cluster keep some share of what it would keep if all were pruned
alike, so that pruning does not amplify imbalance.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from winnow.algorithms.prune.budget import exact_fraction
from winnow.algorithms.prune.ranking import Uids, order

Keep = Literal["hard", "easy"]
#: What a cluster's part of a budget is: by its size, or equal for every cluster.
PartOf: TypeAlias = Literal["size", "equal"]
Counts = npt.NDArray[np.int64]


def floor_counts(
    cluster_sizes: npt.ArrayLike,
    count: int,
    balance: float = 0.5,
    of: PartOf = "size",
) -> Counts:
    """Return how many rows each of k clusters keeps whatever their distance.

    of `size`: ⌊balance · size · count/n⌋, n all rows: at least that share of what the
    cluster would keep if all were pruned alike; the paper (appendix, "class balance")
    uses balance 0.5 over classes. of `equal`: min(size, ⌊balance·count/k⌋), where k
    counts the clusters that have rows. Shape (k,); the sum is at most `count`. Raises
    ValueError if a size is negative, `count` is more than all rows, `balance` is
    outside [0, 1] or `of` is unknown.
    """
    sizes = _checked(cluster_sizes, count)
    share = exact_fraction(balance)
    if of == "size":
        # Whole numbers of any length: a product of three may exceed 64 bits.
        whole = share.denominator * max(int(sizes.sum()), 1)
        parts = [share.numerator * count * size // whole for size in sizes.tolist()]
        return np.array(parts, np.int64)
    if of != "equal":
        raise ValueError(f"of={of!r} is unknown: use 'size' or 'equal'")
    occupied = max(int(np.count_nonzero(sizes)), 1)
    floor = share.numerator * count // (share.denominator * occupied)
    return np.minimum(sizes, floor)


def proportional_counts(cluster_sizes: npt.ArrayLike, count: int) -> Counts:
    """Return the same share of each of k clusters, summing to exactly `count`.

    count · size / n, rounded by largest remainders, ties to the lower cluster id.
    Shape (k,). Raises ValueError if a size is negative or `count` is more than all
    rows.
    """
    sizes = _checked(cluster_sizes, count)
    rows = max(int(sizes.sum()), 1)
    parts = [divmod(count * size, rows) for size in sizes.tolist()]
    counts = np.array([whole for whole, _ in parts], np.int64)
    left = count - int(counts.sum())
    by_remainder = sorted(range(len(parts)), key=lambda cluster: -parts[cluster][1])
    counts[by_remainder[:left]] += 1
    return counts


def uniform_counts(cluster_sizes: npt.ArrayLike, count: int) -> Counts:
    """Return equal shares of `count` over k clusters, none larger than its cluster.

    What a small cluster cannot fill is shared equally by the others (water-filling);
    the remainder goes one row each to the lowest cluster ids with rows left. Shape
    (k,), summing to exactly `count`. Raises ValueError if a size is negative or `count`
    is more than all rows.
    """
    sizes = _checked(cluster_sizes, count)
    level, left = _water_level(np.sort(sizes), count)
    counts = np.minimum(sizes, level)
    counts[np.flatnonzero(sizes > level)[:left]] += 1
    return counts


def select(  # noqa: PLR0913 - a step's settings, and its rows
    distances: npt.NDArray[np.float64],
    clusters: npt.NDArray[np.int32],
    uids: Uids,
    count: int,
    *,
    keep: Keep = "hard",
    balance: float = 0.5,
    of: PartOf = "size",
) -> npt.NDArray[np.bool_]:
    """Return which of n rows are kept, with all rows in memory.

    Each cluster first keeps its floor (see `floor_counts`) of best rows; the rest of
    the budget goes to the best of the remaining rows of all clusters. Best is farthest
    (`hard`) or nearest (`easy`), ties to the smaller uid. Exactly `count` rows are
    kept, or all rows with a distance where fewer have one: NaN is never kept.

    distances: (n,) cosine distances; clusters: (n,) ids ≥ 0. Raises ValueError if
    `count` is more than n, or for an unknown `keep`.
    """
    if keep not in ("hard", "easy"):
        raise ValueError(f"keep={keep!r} is unknown: use 'hard' or 'easy'")
    if not 0 <= count <= len(distances):
        raise ValueError(f"cannot keep {count:,} of {len(distances):,} rows")
    rows = order(distances, uids, descending=keep == "hard")
    rows = rows[: len(rows) - np.count_nonzero(np.isnan(distances))]
    count = min(count, len(rows))
    sizes = np.bincount(clusters[rows], minlength=1)
    floors = floor_counts(sizes, count, balance, of)
    guaranteed = _place_in_cluster(clusters[rows]) < floors[clusters[rows]]
    mask = np.zeros(len(distances), np.bool_)
    mask[rows[guaranteed]] = True
    mask[rows[~guaranteed][: count - int(guaranteed.sum())]] = True
    return mask


def _place_in_cluster(clusters: npt.NDArray[np.int32]) -> Counts:
    """Return for each row how many earlier rows are of the same cluster."""
    grouped = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    starts = np.cumsum(sizes) - sizes
    places = np.empty(len(clusters), np.int64)
    places[grouped] = np.arange(len(clusters)) - np.repeat(starts, sizes)
    return places


def _water_level(ascending: Counts, count: int) -> tuple[int, int]:
    """Return the largest L with Σ min(size, L) ≤ count, and what is then left."""
    k = len(ascending)
    before = np.cumsum(ascending) - ascending
    # The j smallest clusters are taken whole as long as the others hold as much each.
    used = before + ascending * np.arange(k, 0, -1)
    whole = int(np.searchsorted(used, count, side="right"))
    if whole == k:
        return int(ascending[-1]) if k else 0, 0
    return divmod(count - int(before[whole]), k - whole)


def _checked(cluster_sizes: npt.ArrayLike, count: int) -> Counts:
    sizes = np.asarray(cluster_sizes)
    if sizes.ndim != 1 or (sizes < 0).any() or (sizes != np.floor(sizes)).any():
        raise ValueError("cluster sizes must be a list of whole numbers of 0 or more")
    total = int(sizes.sum())
    if not 0 <= count <= total:
        raise ValueError(f"cannot keep {count:,} of the clusters' {total:,} rows")
    return sizes.astype(np.int64)
