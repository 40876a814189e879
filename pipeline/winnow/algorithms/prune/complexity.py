"""Density-based pruning: more rows for clusters that are wide and far apart.

Abbas et al. 2024, arXiv 2401.04578, §3.2: complexity C_j = d_intra_j · d_inter_j,
shares P = softmax(C/τ), and the row counts nearest to N·P that the clusters can fill.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.prune.prototypes import PartOf, floor_counts

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BLOCK_BYTES = 64 << 20
# Rounding noise of N·P − λ: what differs by less is the same number.
_NOISE = 1e-9


def inter_distances(centroids: npt.ArrayLike, neighbours: int = 20) -> Floats:
    """Return each centroid's mean cosine distance to its nearest other centroids.

    centroids: (k, dim), of any norm > 0. A centroid is never its own neighbour, but a
    duplicate of it is one. Returns (k,) in float64, memory bounded for any k. Raises
    ValueError if there are not more than `neighbours` centroids, or if one is zero or
    not finite.
    """
    unit = np.asarray(centroids, np.float64)
    k = len(unit)
    if not 1 <= neighbours < k:
        raise ValueError(
            f"{neighbours} neighbours of {k} centroids: each has {max(k - 1, 0)} "
            f"others; use a number from 1 to {max(k - 1, 1)}, or more clusters"
        )
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        raise ValueError("a centroid is zero or not finite; drop empty clusters first")
    unit = unit / norms
    means = np.empty(k)
    block = max(1, _BLOCK_BYTES // (8 * k))
    for start in range(0, k, block):
        distances = 1 - unit[start : start + block] @ unit.T
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        nearest = np.partition(distances, neighbours - 1, axis=1)[:, :neighbours]
        means[start : start + block] = np.sort(nearest, axis=1).mean(axis=1)
    return means


def allocate_budget(
    cluster_sizes: npt.ArrayLike,
    complexities: npt.ArrayLike,
    budget: int,
    *,
    temperature: float = 0.1,
    balance: float = 0.0,
    of: PartOf = "equal",
) -> Counts:
    """Return how many rows each of k clusters keeps: (k,), summing to `budget` exactly.

    `continuous_allocation`, rounded by largest remainders, ties to the lower cluster
    id; never more than a cluster's size. Raises ValueError as that does.
    """
    sizes, _ = _checked(cluster_sizes, complexities, budget, temperature)
    x = continuous_allocation(
        cluster_sizes,
        complexities,
        budget,
        temperature=temperature,
        balance=balance,
        of=of,
    )
    counts = np.floor(x + _NOISE).astype(np.int64)
    # Equal clusters must tie, whatever the last bits of their remainders are.
    remainders = np.round(x - counts, 9)
    candidates = np.flatnonzero(counts < sizes)
    by_remainder = np.argsort(-remainders[candidates], kind="stable")
    counts[candidates[by_remainder[: budget - int(counts.sum())]]] += 1
    return counts


def continuous_allocation(
    cluster_sizes: npt.ArrayLike,
    complexities: npt.ArrayLike,
    budget: int,
    *,
    temperature: float = 0.1,
    balance: float = 0.0,
    of: PartOf = "equal",
) -> Floats:
    """Return the x that minimises ½‖x − N·P‖² with Σx = N and lb ≤ x ≤ M; shape (k,).

    N is `budget`, M the cluster sizes, P = softmax(complexities / temperature), and
    lb_j = min(m, max(M_j − 1, 0)) with m = 1 for balance 0, else ⌊N·balance/k⌋ (§3.2
    and the released code: of `equal` parts) or ⌊N·balance·M_j/ΣM⌋ (of parts by
    `size`). By its optimality conditions x = clip(N·P − λ, lb, M) for
    one scalar λ, found by sorting in O(k log k); no solver is needed.

    A cluster of size 0 takes part in nothing: its complexity may be NaN and k does not
    count it. With fewer rows to keep than clusters, one row each is impossible; lb is
    then 0, so that the most complex clusters keep theirs.

    Raises ValueError if a size is negative or not whole, a complexity or the
    temperature is not usable, `balance` is outside [0, 1], or `budget` is negative or
    more than all rows.
    """
    sizes, complexity = _checked(cluster_sizes, complexities, budget, temperature)
    occupied = np.flatnonzero(sizes)
    x = np.zeros(len(sizes))
    if len(occupied) == 0:
        return x
    upper = sizes[occupied].astype(np.float64)
    lower = _lower_bounds(sizes[occupied], budget, balance, of)
    target = budget * _softmax(complexity[occupied] / temperature)
    shift = _shift(target, lower, upper, budget)
    x[occupied] = np.clip(target - shift, lower, upper)
    return x


def _lower_bounds(sizes: Counts, budget: int, balance: float, of: PartOf) -> Floats:
    least = floor_counts(sizes, budget, balance, of) if balance else 1
    lower = np.minimum(least, np.maximum(sizes - 1, 0)).astype(np.float64)
    return lower if lower.sum() <= budget else np.zeros_like(lower)


def _shift(target: Floats, lower: Floats, upper: Floats, budget: int) -> float:
    """Return the λ at which Σ clip(target − λ, lower, upper) is `budget`.

    The sum falls from Σ upper to Σ lower, linear between the sorted λ at which one
    cluster leaves its upper bound or reaches its lower one.
    """
    leaves, reaches = target - upper, target - lower
    bends = np.concatenate([leaves, reaches])
    by_bend = np.argsort(bends)
    bends = bends[by_bend]
    k = len(target)
    # Clusters strictly between their bounds, from each bend to the next.
    free = np.cumsum(np.where(by_bend < k, 1, -1))
    fallen = np.concatenate([[0.0], np.cumsum(free[:-1] * np.diff(bends))])
    segment = int(np.searchsorted(fallen, upper.sum() - budget, side="right")) - 1
    low, high = bends[segment], bends[min(segment + 1, 2 * k - 1)]
    # Sums over whole segments lose digits; the segment is right, so solve it afresh.
    capped = leaves > low
    floored = reaches <= low
    between = ~(capped | floored)
    members = np.count_nonzero(between)
    if members == 0:
        return float(low)
    rest = budget - upper[capped].sum() - lower[floored].sum()
    exact = (target[between].sum() - rest) / members
    return float(np.clip(exact, low, high))


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def _checked(
    cluster_sizes: npt.ArrayLike,
    complexities: npt.ArrayLike,
    budget: int,
    temperature: float,
) -> tuple[Counts, Floats]:
    sizes = np.asarray(cluster_sizes, np.float64)
    complexity = np.asarray(complexities, np.float64)
    if sizes.ndim != 1 or sizes.shape != complexity.shape:
        raise ValueError(
            f"cluster sizes {sizes.shape} and complexities {complexity.shape} must be "
            "two lists of one number per cluster"
        )
    if not (sizes >= 0).all() or (sizes != np.floor(sizes)).any():
        raise ValueError("cluster sizes must be whole numbers of 0 or more")
    if not np.isfinite(complexity[sizes > 0]).all():
        bad = int(np.flatnonzero(~np.isfinite(complexity) & (sizes > 0))[0])
        raise ValueError(f"the complexity of cluster {bad} is {complexity[bad]}")
    if not temperature > 0 or not np.isfinite(temperature):
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    total = int(sizes.sum())
    if not 0 <= budget <= total:
        raise ValueError(
            f"cannot keep {budget:,} of the clusters' {total:,} rows: lower the budget"
        )
    return sizes.astype(np.int64), complexity
