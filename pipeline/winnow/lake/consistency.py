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
from winnow.lake.kernels.implied import implied

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
    child, parent = edges.child[held], edges.parent[held]
    # Few tables hold others, so that few pairs need a look at what is reached.
    tables = int(max(edges.child.max(), edges.parent.max())) + 1
    begins, ends = np.zeros(tables, np.bool_), np.zeros(tables, np.bool_)
    begins[child] = ends[parent] = True
    refuted = refuted[begins[edges.child[refuted]] & ends[edges.parent[refuted]]]
    known = implied(child, parent, edges.child[refuted], edges.parent[refuted])
    pairs: Ints = np.union1d(whole, refuted[known])
    return pairs
