"""Which pairs a containment graph implies: over one table between, whatever the copies.

Tables that contain each other, perhaps over others, are one node: a lake of copies
would have very many paths.

Source: R. Tarjan, "Depth-first search and linear graph algorithms" (SIAM J. Comput.
1972), section 4, for the strong components; here without recursion.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled

Ints = npt.NDArray[np.int64]


def implied(
    child: Ints, parent: Ints, begins: Ints, ends: Ints
) -> npt.NDArray[np.bool_]:
    """Return which pairs `(n,)` hold by at most two edges between nodes.

    child, parent (m,): the edges, by table; begins, ends (n,): the pairs.

    >>> import numpy as np
    >>> edges = np.array([0, 1, 2]), np.array([1, 2, 3])  # 0 in 1 in 2 in 3
    >>> implied(*edges, np.array([0, 0, 1]), np.array([2, 3, 0])).tolist()
    [True, False, False]
    """
    sides = (child, parent, begins, ends)
    tables = max((int(side.max(initial=-1)) for side in sides), default=-1) + 1
    node = np.full(tables, -1)
    count = _strong_components(*_lists(child, parent, tables), node)
    codes = np.unique(node[child] * count + node[parent])
    above, below = codes // max(count, 1), codes % max(count, 1)
    known = np.zeros(len(begins), np.bool_)
    first, targets = _lists(above, below, count)
    back, sources = _lists(below, above, count)
    _look_up(node[begins], node[ends], (first, targets), (back, sources), known)
    return known


def _lists(begin: Ints, end: Ints, count: int) -> tuple[Ints, Ints]:
    """Return where the sorted ends of each begin start, and these ends."""
    order = np.lexsort((end, begin))
    return np.searchsorted(begin[order], np.arange(count + 1)), end[order]


@compiled
def _strong_components(first: Any, targets: Any, node: Any) -> Any:
    """Write the number of each table's component; return how many there are."""
    n = len(node)
    index, low, edge = np.full(n, -1), np.empty(n, np.int64), first.copy()
    stack, path = np.empty(n, np.int64), np.empty(n, np.int64)
    count, seen, waiting = 0, 0, 0
    for root in range(n):
        if index[root] >= 0:
            continue
        depth, path[0] = 1, root
        while depth:
            v = path[depth - 1]
            if index[v] < 0:
                index[v] = low[v] = seen
                stack[waiting] = v
                seen, waiting = seen + 1, waiting + 1
            if edge[v] < first[v + 1]:
                w = targets[edge[v]]
                edge[v] += 1
                if index[w] < 0:
                    path[depth] = w
                    depth += 1
                elif node[w] < 0:
                    low[v] = min(low[v], index[w])
                continue
            depth -= 1
            if depth:
                low[path[depth - 1]] = min(low[path[depth - 1]], low[v])
            if low[v] == index[v]:
                while node[v] < 0:
                    waiting -= 1
                    node[stack[waiting]] = count
                count += 1
    return count


@compiled
def _look_up(begins: Any, ends: Any, above: Any, below: Any, known: Any) -> None:
    """Say of each pair whether it is one node, an edge, or two one after another."""
    for i in range(len(begins)):
        one, other = begins[i], ends[i]
        some = above[1][above[0][one] : above[0][one + 1]]
        others = below[1][below[0][other] : below[0][other + 1]]
        if one == other or _holds(some, other):
            known[i] = True
            continue
        if len(some) > len(others):
            some, others = others, some
        for between in some:
            if _holds(others, between):
                known[i] = True
                break


@compiled
def _holds(ascending: Any, value: Any) -> Any:
    # NumPy's search has Numba load SciPy's linear algebra.
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(ascending) and ascending[low] == value
