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

from winnow.config.lake import PartialConfig
from winnow.core.engine import Engine
from winnow.lake.compare.content import verify_edges
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.sample import sample_edges
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.verdicts import Verdicts
from winnow.lake.kernels import lsh_ensemble

#: Weights of false positives and false negatives when LSH chooses its bands.
_WEIGHTS = (0.1, 0.9)
#: An estimate this many standard deviations below a threshold rules an edge out.
_DEVIATIONS = 4

Ints = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]
#: Where the sketches of both tables of each pair stand.
_Places = tuple[Ints, Ints]


def candidates(
    tables: HashedTables, sketches: Sketches, edges: TablePairs, config: PartialConfig
) -> _Mask:
    """Return which refuted edges are worth an exact fraction, `(n,)`.

    Edges whose tables are not sketched as needed are none.
    """
    suggested = np.zeros(len(edges.child), np.bool_)
    # Most tables of a large lake are not sketched: footers told them apart.
    sketched = np.zeros(len(tables.names), np.bool_)
    sketched[sketches.whole] = True
    known = np.flatnonzero(sketched[edges.child])
    known, places, of_rows = _compared(tables, sketches, edges, known)
    chosen = _containing(sketches, places, config)
    rows = np.flatnonzero(of_rows)
    chosen[rows] |= _similar(sketches, (places[0][rows], places[1][rows]), config)
    some = np.flatnonzero(chosen)
    shares, looked_up = sketches.shares((places[0][some], places[1][some]))
    chosen[some] = ~_ruled_out(shares, looked_up, config.min_containment)
    suggested[known] = chosen
    return suggested


def measure(
    engine: Engine,
    tables: HashedTables,
    sketches: Sketches,
    edges: TablePairs,
    min_containment: float,
) -> Verdicts:
    """Count how much of each child its parent holds.

    Verdicts are exact but where a sample says that less than `min_containment` is held.
    """
    verdicts = sample_edges(engine, tables, sketches, edges)
    low = _ruled_out(verdicts.containment(False), verdicts.distinct, min_containment)
    rest = np.flatnonzero(~verdicts.exact & ~low)
    if len(rest):
        exact = verify_edges(engine, tables, edges.take(rest))
        for column, values in zip(verdicts, exact, strict=True):
            column[rest] = values
    return verdicts


def _ruled_out(
    share: npt.NDArray[np.float64], size: npt.NDArray[np.int64], threshold: float
) -> _Mask:
    """Say which shares of samples are too low for a whole at the threshold."""
    deviation = math.sqrt(threshold * (1 - threshold)) / np.sqrt(np.maximum(size, 1))
    return np.asarray(share < threshold - _DEVIATIONS * deviation, np.bool_)


def _compared(
    tables: HashedTables, sketches: Sketches, edges: TablePairs, numbers: Ints
) -> tuple[Ints, _Places, _Mask]:
    """Return which of some edges can be judged, by which sketches, and which by rows.

    By their rows, or by a telling column of a child with fewer columns.
    """
    size = np.array([len(names) for names in tables.names], np.int64)
    some = edges.take(numbers)
    of_rows = size[some.child] >= size[some.parent]
    telling: dict[int, str | None] = {}
    one, other = np.full((2, len(numbers)), -1)
    pairs = zip(*(side.tolist() for side in (*some, of_rows)), strict=True)
    for i, (child, parent, whole) in enumerate(pairs):
        name = None
        if not whole:
            if child not in telling:
                telling[child] = _telling(sketches, child, tables.names[child])
            name = telling[child]
            of_rows[i] = name is None
        one[i], other[i] = sketches.sought(child, name), sketches.sought(parent, name)
    known = (one >= 0) & (other >= 0)
    return numbers[known], (one[known], other[known]), of_rows[known]


def _telling(sketches: Sketches, table: int, names: Iterable[str]) -> str | None:
    """Return the column with the most distinct values, by name if there are several."""
    known = [name for name in names if (table, name) in sketches]
    return min(known, key=lambda n: (-sketches.distinct(table, n), n), default=None)


def _similar(sketches: Sketches, places: _Places, config: PartialConfig) -> _Mask:
    """Return which pairs share a band of MinHash values of their rows."""
    threshold = config.min_similarity
    return lsh_ensemble.similar(sketches.minhashes, *places, threshold, _WEIGHTS)


def _containing(sketches: Sketches, places: _Places, config: PartialConfig) -> _Mask:
    """Return which pairs LSH Ensemble suggests by MinHash values of columns or rows."""
    return lsh_ensemble.containing(
        sketches.minhashes,
        sketches.distinct_values,
        places,
        config.min_containment,
        _WEIGHTS,
    )
