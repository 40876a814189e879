"""Which pairs a scan decides, and in which forms of their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.files.compared_as_text import is_json, may_have_text
from winnow.lake.kernels.schema_graph import SchemaEdges
from winnow.lake.kernels.tables import ColumnStatistics, Table

Ints = npt.NDArray[np.int64]
Statistics = Sequence[Mapping[str, ColumnStatistics]]


@dataclass(frozen=True)
class Scope:
    """What a scan decides anew, of some tables of a lake.

    changed, sketched (n,): the tables whose pairs are all decided, and those whose
    sketches are asked for. again: more pairs that are decided. settled: pairs that an
    earlier scan decided, and not by their footers; they tell, too, what is sketched.
    """

    changed: npt.NDArray[np.bool_]
    sketched: npt.NDArray[np.bool_]
    again: TablePairs
    settled: TablePairs

    def divided(self, edges: SchemaEdges) -> tuple[Ints, Ints]:
        """Return which edges are decided, and which are settled."""
        width = len(self.changed)
        code = edges.child * width + edges.parent
        again, settled = (
            np.isin(code, pairs.child * width + pairs.parent)
            for pairs in (self.again, self.settled)
        )
        decided = again | self.changed[edges.child] | self.changed[edges.parent]
        return np.flatnonzero(decided), np.flatnonzero(settled & ~decided)


def in_text(
    tables: HashedTables, edges: SchemaEdges, statistics: Statistics
) -> tuple[SchemaEdges, Statistics]:
    """Compare inferred columns by their text where their types do not agree.

    Returns the pairs, of other forms of their tables where need be, and the statistics
    of all tables, those forms included. `tables` grows.
    """
    lake = tables.reader.tables
    inferred = np.array([may_have_text(table) for table in lake], np.bool_)
    lines = np.array([is_json(table) for table in lake], np.bool_)
    some = inferred[edges.child] | inferred[edges.parent]
    some &= (edges.incomparable >= 0) | (lines[edges.child] & lines[edges.parent])
    before = len(lake)
    child, parent, lost = (
        side.copy() for side in (edges.child, edges.parent, edges.incomparable)
    )
    for i in np.flatnonzero(some).tolist():
        pair = tables.paired(int(child[i]), int(parent[i]))
        if pair is not None:
            child[i], parent[i], lost[i] = *pair, -1
    base = tables.own_numbers().tolist()
    forms = [
        _of_text(statistics[base[number]], tables.names[number], lake[number])
        for number in range(before, len(lake))
    ]
    return SchemaEdges(child, parent, lost, edges.keys), [*statistics, *forms]


def _of_text(
    statistics: Mapping[str, ColumnStatistics], names: Mapping[str, str], table: Table
) -> dict[str, ColumnStatistics]:
    """Return a table's statistics without the bounds of columns now read as text."""
    read = {name for name, _ in table.forms}
    return {
        key: ColumnStatistics(known.rows, known.nulls) if names[key] in read else known
        for key, known in statistics.items()
    }
