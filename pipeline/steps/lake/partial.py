"""Tables that are not contained, but nearly: which to measure, and how much they share.

Candidates are suggested, never certified: an edge that nothing suggests stays refuted
without a fraction. What is suggested is then counted exactly.

- Tables with the same columns and about as many rows: MinHash LSH over their rows.
- Others: LSH Ensemble (Zhu et al., VLDB 2016) over rows, or over the most distinctive
  column of a child with fewer columns, weighted towards recall, since with even
  weights it misses even full containments when the parent is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.algorithms.lake import lsh_ensemble
from pipeline.config.lake import PartialConfig
from pipeline.core.engine import Engine
from pipeline.steps.lake.content import verify_edges
from pipeline.steps.lake.hashed_tables import Edges, HashedTables
from pipeline.steps.lake.sample import sample_edges
from pipeline.steps.lake.sketched import Sketches
from pipeline.steps.lake.verdicts import Verdicts

#: Weights of false positives and false negatives when LSH chooses its bands.
_WEIGHTS = (0.1, 0.9)
#: An estimate this many standard deviations below a threshold rules an edge out.
_DEVIATIONS = 4

_Mask = npt.NDArray[np.bool_]
#: A table's column, or its rows.
_Key = tuple[int, str | None]


def candidates(
    tables: HashedTables, sketches: Sketches, edges: Edges, config: PartialConfig
) -> _Mask:
    """Return which refuted edges are worth an exact fraction, `(n,)`.

    Edges whose tables are not sketched as needed are none.
    """
    keys = _compared_keys(tables, sketches, edges)
    chosen = np.zeros(len(keys), np.bool_)
    known = [i for i, key in enumerate(keys) if key]
    chosen[known] = _containing(sketches, [k for k in keys if k], config)
    rows = [i for i in known if (key := keys[i]) and key[0][1] is None]
    pairs = [key for i in rows if (key := keys[i])]
    chosen[rows] |= _similar(sketches, pairs, config)
    at = np.flatnonzero(chosen)
    shares, looked_up = sketches.shares([key for i in at if (key := keys[i])])
    chosen[at] = ~_ruled_out(shares, looked_up, config.min_containment)
    return chosen


def measure(
    engine: Engine,
    tables: HashedTables,
    sketches: Sketches,
    edges: Edges,
    min_containment: float,
) -> Verdicts:
    """Count how much of each child its parent holds.

    Verdicts are exact but where a sample says that less than `min_containment` is held.
    """
    found = sample_edges(engine, tables, sketches, edges)
    low = _ruled_out(found.containment(False), found.distinct, min_containment)
    rest = np.flatnonzero(~found.exact & ~low)
    if len(rest):
        exact = verify_edges(engine, tables, edges.take(rest))
        for column, values in zip(found, exact, strict=True):
            column[rest] = values
    return found


def _ruled_out(
    share: npt.NDArray[np.float64], size: npt.NDArray[np.int64], threshold: float
) -> _Mask:
    """Say which shares of samples are too low for a whole at the threshold."""
    deviation = math.sqrt(threshold * (1 - threshold)) / np.sqrt(np.maximum(size, 1))
    return np.asarray(share < threshold - _DEVIATIONS * deviation, np.bool_)


def _compared_keys(
    tables: HashedTables, sketches: Sketches, edges: Edges
) -> list[tuple[_Key, _Key] | None]:
    """Return by which sketches each edge is judged: rows, or a telling column."""
    telling: dict[int, str | None] = {}
    found: list[tuple[_Key, _Key] | None] = []
    for child, parent in zip(edges.child.tolist(), edges.parent.tolist(), strict=True):
        name = None
        if len(tables.names[child]) < len(tables.names[parent]):
            if child not in telling:
                telling[child] = _telling(sketches, child, tables.names[child])
            name = telling[child]
        keys = (child, name), (parent, name)
        needed = (*keys, (child, None))
        found.append(keys if all(key in sketches for key in needed) else None)
    return found


def _telling(sketches: Sketches, table: int, names: Iterable[str]) -> str | None:
    """Return the column with the most distinct values, by name if there are several."""
    known = [name for name in names if (table, name) in sketches]
    return min(known, key=lambda n: (-sketches.distinct(table, n), n), default=None)


def _similar(
    sketches: Sketches, pairs: list[tuple[_Key, _Key]], config: PartialConfig
) -> _Mask:
    """Return which pairs share a band of MinHash values of their rows."""
    places, threshold = sketches.places(pairs), config.min_similarity
    return lsh_ensemble.similar(sketches.minhashes, *places, threshold, _WEIGHTS)


def _containing(
    sketches: Sketches, pairs: list[tuple[_Key, _Key]], config: PartialConfig
) -> _Mask:
    """Return which pairs LSH Ensemble suggests by MinHash values of columns or rows."""
    return lsh_ensemble.containing(
        sketches.minhashes,
        sketches.distinct_values,
        sketches.places(pairs),
        config.min_containment,
        _WEIGHTS,
    )
