"""No contradiction leaves a scan: what its verdicts imply of each other is checked.

Footers can lie (old writers ordered decimals wrongly), and a verdict from one would
then contradict others that come from rows. Where containments imply another (A in B, B
in C) and the scan refuted it, or all of a child was counted in its parent, the rows
decide.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.lake.compare.findings import Findings
from winnow.lake.compare.hashed_tables import TablePairs

Ints = npt.NDArray[np.int64]


def contradicted(findings: Findings) -> Ints:
    """Return the pairs that were refuted although other verdicts imply them.

    Implied is A in C by A in B and B in C, and whatever was counted whole.
    """
    return contradictions(
        findings.edges,
        findings.contained,
        findings.refuted(),
        findings.containment,
    )


def contradictions(
    edges: TablePairs,
    contained: npt.NDArray[np.bool_],
    refuted: Ints,
    containment: npt.NDArray[np.float64],
) -> Ints:
    """Return which of the `refuted` pairs other verdicts imply; see `contradicted`.

    contained, containment (n,): of all pairs.
    """
    whole = refuted[containment[refuted] >= 1]
    held = np.flatnonzero(contained)
    if not len(held) or not len(refuted):
        return whole
    # A fifth of what a scan of one small table takes would be this import.
    import scipy.sparse as sp
    from scipy.sparse.csgraph import connected_components

    tables = int(max(edges.child.max(), edges.parent.max())) + 1
    child, parent = edges.child[held], edges.parent[held]
    ones = np.ones(len(held), np.int8)
    graph = sp.csr_array((ones, (child, parent)), shape=(tables, tables))
    # Duplicates are one node: a lake of copies would have very many paths.
    count, node = connected_components(graph, directed=True, connection="strong")
    small = sp.csr_array(
        (np.ones(len(held), np.int64), (node[child], node[parent])), (count, count)
    )
    small.data[:] = 1
    reached = (small @ small + small + sp.eye_array(count, dtype=np.int64)).tocoo()
    # Few tables hold others, so that few pairs need a look at what is reached.
    begins, ends = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    begins[node[child]] = ends[node[parent]] = True
    refuted = refuted[
        begins[node[edges.child[refuted]]] & ends[node[edges.parent[refuted]]]
    ]
    implied = np.isin(
        node[edges.child[refuted]].astype(np.int64) * count
        + node[edges.parent[refuted]],
        reached.coords[0].astype(np.int64) * count + reached.coords[1],
    )
    pairs: Ints = np.union1d(whole, refuted[implied])
    return pairs
