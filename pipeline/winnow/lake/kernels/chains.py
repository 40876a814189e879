"""The deletion plan on chains of containments, exact in O(n²)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Costs = npt.NDArray[np.float64]


def common_ranking(costs: Costs) -> Ints | None:
    """Return an order of the parents that every child agrees with, or None.

    costs: (n, n) of what it costs to have table v (column) from table u (row), inf
    where v cannot be had from u; edges form no cycle. The result (n,) lists tables so
    that for each child the parents come by rising cost. On a chain v₁ ⊂ v₂ ⊂ … there
    is one whenever a smaller parent is cheaper for all children or for none, as with
    costs by bytes read.
    """
    n = len(costs)
    topological = _topological(np.isfinite(costs))
    if topological is None:
        return None
    # Tables that cannot be a child's parent by their place in the chain do not count.
    position = np.empty(n, np.int64)
    position[topological] = np.arange(n)
    above = position[:, None] < position[None, :]
    keys = np.where(above, costs, -np.inf)
    ranking: Ints = np.lexsort(keys[:, topological].T)
    for child in range(n):
        parents = ranking[above[ranking, child]]
        if (costs[parents[1:], child] < costs[parents[:-1], child]).any():
            return None
    return ranking


def _topological(edges: npt.NDArray[np.bool_]) -> Ints | None:
    """Return tables so that parents come before children; None if there is a cycle.

    Longest paths settle the order, so that a chain is in the order of its tables.
    """
    parents_left = edges.sum(axis=0)
    done = np.zeros(len(edges), bool)
    order: list[int] = []
    while len(order) < len(edges):
        ready = np.flatnonzero(~done & (parents_left == 0))
        if not len(ready):
            return None
        order.extend(ready.tolist())
        done[ready] = True
        parents_left = parents_left - edges[ready].sum(axis=0)
    return np.array(order, np.int64)


def retain_on_chain(
    keep: Costs, protected: npt.NDArray[np.bool_], costs: Costs, ranking: Ints
) -> npt.NDArray[np.bool_]:
    """Return (n,) which tables stay at least total cost.

    keep: (n,) cost of keeping; protected: (n,) tables that stay; costs and ranking as
    in `common_ranking`. Tables are met parents first. Since all children agree on the
    ranking, all that a table needs to know of those met before is the best-ranked one
    that stays: n + 1 states, so O(n²) time and n² bits of memory.
    """
    n = len(keep)
    order = _topological(np.isfinite(costs))
    if order is None:
        raise ValueError("the tables form no chain: some are contained in each other")
    rank = np.empty(n, np.int64)
    rank[ranking] = np.arange(n)
    # State s < n: the best-ranked retained table is ranking[s]; n: none is retained.
    value = np.append(np.full(n, np.inf), 0.0)
    deleted = np.zeros((n, n + 1), bool)
    origin = np.zeros(n, np.int64)
    for table in order:
        table_rank = rank[table]
        kept = value + keep[table]
        gone = np.append(value[:n] + costs[ranking, table], np.inf)
        if protected[table]:
            gone[:] = np.inf
        origin[table] = table_rank + np.argmin(kept[table_rank:])
        best_above = kept[origin[table]]
        kept[table_rank:] = np.inf
        kept[table_rank] = best_above
        deleted[table] = gone < kept
        value = np.minimum(gone, kept)
    stays = np.ones(n, bool)
    state = int(np.argmin(value))
    for table in order[::-1]:
        if deleted[table, state]:
            stays[table] = False
        elif state == rank[table]:
            state = int(origin[table])
    return stays
