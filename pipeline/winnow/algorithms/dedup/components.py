"""Connected components of a stream of edges, by union-find.

Source: R. Tarjan, "Efficiency of a good but not linear set union algorithm" (1975);
path halving after R. Tarjan and J. van Leeuwen, "Worst-case analysis of set union
algorithms" (1984). Roots are linked to the smaller root, so that a component's label
is its smallest node whatever the order of the edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled


def components(
    nodes: int, left: npt.NDArray[Any], right: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return the smallest node of each node's component, `(nodes,)`.

    `left[i]`, `right[i]` are the ends of edge i, in any order. Raises ValueError for
    an end that is not a node.
    """
    parents = np.arange(nodes, dtype=np.int64)
    join(parents, left, right)
    flatten(parents)
    return parents


def join(
    parents: npt.NDArray[np.int64], left: npt.NDArray[Any], right: npt.NDArray[Any]
) -> None:
    """Take more edges into the forest `parents`, which starts as `arange(nodes)`.

    8 bytes a node and nothing per edge, so edges may come in any number of pieces.
    """
    for ends in (left, right):
        if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < len(parents):
            raise ValueError(f"an edge leads out of the {len(parents)} nodes")
    _join(parents, left, right)


@compiled
def root_of(parents: npt.NDArray[np.int64], node: Any) -> Any:
    """Return the root of `node`, halving the path to it."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def _join(
    parents: npt.NDArray[np.int64], left: npt.NDArray[Any], right: npt.NDArray[Any]
) -> None:
    for i in range(len(left)):
        a, b = root_of(parents, np.int64(left[i])), root_of(parents, np.int64(right[i]))
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b


@compiled
def flatten(parents: npt.NDArray[np.int64]) -> None:
    """Point every node straight at its root."""
    # A parent is never larger than its node, so it is flat when its node's turn comes.
    for node in range(len(parents)):
        parents[node] = parents[parents[node]]
