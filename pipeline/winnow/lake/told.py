"""What the stages of a scan say of pairs, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.lake.compare.exactness import Exactness
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.sketched import Refuted
from winnow.lake.compare.witness import bound_witness
from winnow.lake.kernels.min_max import refute
from winnow.lake.kernels.schema_graph import SchemaEdges
from winnow.lake.kernels.tables import Column, ColumnStatistics

Ints = npt.NDArray[np.int64]


def incomparable(tables: HashedTables, edges: SchemaEdges) -> list[str]:
    """Return which column of each pair has types without a value in common."""
    reasons = []
    for child, parent, number in _plain(edges):
        key = edges.keys[number]
        one, other = (
            tables.reader.tables[t].column(tables.names[t][key]).family
            for t in (child, parent)
        )
        reasons.append(f"column {key}: {one} in the child, {other} in the parent")
    return reasons


def _plain(edges: SchemaEdges) -> zip[tuple[int, int, int]]:
    columns = (edges.child, edges.parent, edges.incomparable)
    return zip(*(column.tolist() for column in columns), strict=True)


def by_bounds(
    tables: HashedTables,
    edges: SchemaEdges,
    keys: Ints,
    statistics: Sequence[Mapping[str, ColumnStatistics]],
    bag: bool,
) -> tuple[list[str], list[str | None]]:
    """Return why bounds refute each pair, and a value that the parent lacks.

    keys (n,): the column of `edges.keys` that refutes the pair.
    """
    reasons, witnesses = [], []
    known: dict[tuple[Any, ...], str | None] = {}
    columns: dict[tuple[int, int], Column] = {}
    for (child, parent, _), k in zip(_plain(edges), keys.tolist(), strict=True):
        key = edges.keys[k]
        if (child, k) not in columns:
            stored = tables.reader.tables[child].column(tables.names[child][key])
            columns[child, k] = stored
        column = columns[child, k]
        pair = statistics[child][key], statistics[parent][key]
        refutation = refute(*pair, column.family, bag)
        assert refutation is not None
        reasons.append(f"column {column.name}: {refutation.reason}")
        # Few values of a child witness against all of its parents.
        value = child, k, refutation.null, refutation.witness
        if value not in known:
            known[value] = bound_witness(column.name, refutation, column.family)
        witnesses.append(known[value])
    return reasons, witnesses


def missing(
    tables: HashedTables, pairs: TablePairs, refuted: Refuted, lost: Ints
) -> list[str]:
    """Return what sketches say that the parent lacks, of some of the pairs."""
    reasons = []
    for i in lost.tolist():
        column, others = refuted.column[i], int(refuted.missing[i]) - 1
        if column is None:
            reasons.append("a row in its sketch is not in the parent")
            continue
        name = tables.names[int(pairs.child[i])][column]
        more = f"; likewise in {others} more" if others else ""
        reasons.append(
            f"column {name}: a value in its sketch is not in the parent{more}"
        )
    return reasons


def inexact(
    tables: HashedTables, pairs: TablePairs, pair: int, exactness: Exactness
) -> str:
    """Say which column, the first by name, is equal by value and not in all else."""
    child, parent = (int(side[pair]) for side in pairs)
    lake, held = tables.reader.tables, tables.names[parent]
    matched = {name: held[key] for key, name in tables.names[child].items()}
    return exactness.told(lake[child], lake[parent], matched)
