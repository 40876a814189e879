"""Sampled refutation: the rows that a child's sketch keeps, looked up in its parents.

A sketch keeps the distinct rows of the smallest hashes, a sample that does not depend
on their order. Parents are streamed past the samples of all their children: nothing is
sorted, nothing is exchanged between workers, and no row of a child is read again. A
child of no more distinct rows than its sketch keeps is thereby compared as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from winnow.core.engine import Engine
from winnow.core.task import available_cores, in_threads
from winnow.lake.compare.hashed_tables import (
    ORDER,
    THREADS,
    HashedTables,
    Names,
    ReadTask,
    TablePairs,
    by_table,
)
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.verdicts import (
    VERDICTS,
    Verdicts,
    as_table,
    gather,
    nothing_looked_up,
)
from winnow.lake.kernels.containment import (
    Index,
    RowSet,
    compare,
    no_rows,
    of_sketch,
    row_set,
)
from winnow.lake.kernels.hashed_columns import HashedColumn, rows_of_columns
from winnow.lake.kernels.murmur3 import Hashes

_FOUND = pa.schema(
    [
        ("projection", pa.int64()),
        ("hi", pa.uint64()),
        ("lo", pa.uint64()),
        ("repeats", pa.int64()),
    ]
)


class Projection(NamedTuple):
    """A parent's rows on the columns of some of its children."""

    number: int
    parent: int
    names: Names
    #: Edges to the children that have these columns, and the children.
    edges: tuple[int, ...]
    children: tuple[int, ...]


def projections_of(
    tables: HashedTables, edges: TablePairs, chosen: Sequence[int]
) -> list[Projection]:
    """Return what is hashed of the chosen edges' parents: once per column set."""
    members: dict[tuple[int, Names], list[int]] = defaultdict(list)
    names = {child: tables.names_of(child) for child in edges.child[chosen].tolist()}
    for i in chosen:
        members[int(edges.parent[i]), names[int(edges.child[i])]].append(i)
    return [
        Projection(n, *key, tuple(numbers), tuple(edges.child[numbers].tolist()))
        for n, (key, numbers) in enumerate(members.items())
    ]


def sample_edges(
    engine: Engine, tables: HashedTables, sketches: Sketches, edges: TablePairs
) -> Verdicts:
    """Look up the rows that the children's sketches keep in their parents.

    Verdicts are exact where a sketch keeps every distinct row of the child. A parent of
    the same columns whose sketch keeps all of its rows is not read again.
    """
    samples = {
        child: sketches.kmv(child, None) for child in np.unique(edges.child).tolist()
    }
    rows = {child: of_sketch(kmv) for child, kmv in samples.items()}
    held, projections = _divided(tables, sketches, edges)
    known = as_table((i, compare(rows[int(edges.child[i])], held[i])) for i in held)
    tasks = tables.tasks(sorted({p.parent for p in projections}))
    kernel = partial(
        look_up, tables=tables, projections=_by_parent(projections), samples=rows
    )
    matches = engine.map_batches(
        engine.from_table(tasks), kernel, _FOUND, order_by=ORDER, together="table"
    )
    judge = partial(judge_projection, projections=projections, samples=rows)
    judged = engine.map_groups(matches, "projection", judge, VERDICTS)
    exact = [samples[child].complete for child in edges.child.tolist()]
    start = nothing_looked_up(len(exact))._replace(exact=np.array(exact, np.bool_))
    verdicts = engine.union([engine.from_table(known), judged])
    return gather(engine, verdicts, start)


def sample_reads(
    tables: HashedTables, sketches: Sketches, edges: TablePairs
) -> dict[int, set[str]]:
    """Return which columns of which parents `sample_edges` reads."""
    reads: dict[int, set[str]] = defaultdict(set)
    for projection in _divided(tables, sketches, edges)[1]:
        reads[projection.parent].update(projection.names)
    return dict(reads)


def _divided(
    tables: HashedTables, sketches: Sketches, edges: TablePairs
) -> tuple[dict[int, RowSet], list[Projection]]:
    """Return the parents' rows of edges where they are at hand, and what to read."""
    held = {
        i: parent
        for i, pair in enumerate(zip(*edges, strict=True))
        if (parent := _whole(tables, sketches, *map(int, pair))) is not None
    }
    rest = [i for i in range(len(edges.child)) if i not in held]
    return held, projections_of(tables, edges, rest)


def _whole(
    tables: HashedTables, sketches: Sketches, child: int, parent: int
) -> RowSet | None:
    """Return all of the parent's rows on the child's columns, if they are at hand."""
    if not tables.reader.tables[parent].parts:
        return no_rows()
    same = len(tables.names[child]) == len(tables.names[parent])
    if not (same and (parent, None) in sketches):
        return None
    kmv = sketches.kmv(parent, None)
    return of_sketch(kmv) if kmv.complete else None


def _by_parent(projections: Sequence[Projection]) -> dict[int, list[Projection]]:
    by_parent: dict[int, list[Projection]] = defaultdict(list)
    for projection in projections:
        by_parent[projection.parent].append(projection)
    return dict(by_parent)


def look_up(
    batches: Iterator[pa.RecordBatch],
    *,
    tables: HashedTables,
    projections: Mapping[int, Sequence[Projection]],
    samples: Mapping[int, RowSet],
) -> Iterator[pa.RecordBatch]:
    """Yield which sampled rows occur in the parents whose read tasks arrive, _FOUND."""

    def work(read: tuple[int, list[ReadTask]]) -> list[pa.RecordBatch]:
        parent, tasks = read
        sought = [_Sought(p, samples) for p in projections[parent]]
        columns = sorted({name for item in sought for name in item.names})
        for task in tasks:
            for block in tables.blocks(task, columns):
                hashed = dict(zip(columns, block.columns(), strict=True))
                for item in sought:
                    item.count([hashed[name] for name in item.names])
        return [item.found() for item in sought]

    threads = min(THREADS, available_cores())
    for held in in_threads(work, by_table(batches), threads):
        yield from held


class _Sought:
    """The sampled rows of a projection's children, and how often they were seen."""

    def __init__(self, projection: Projection, samples: Mapping[int, RowSet]) -> None:
        self.names = projection.names
        self._number = projection.number
        parts = [samples[child] for child in projection.children]
        self._rows = _joined(parts)
        self._index = Index(self._rows)
        self._counts = np.zeros(len(self._rows.hi), np.int64)

    def count(self, columns: Sequence[HashedColumn]) -> None:
        self._index.count(rows_of_columns(columns), self._counts)

    def found(self) -> pa.RecordBatch:
        # All of them, so that a projection without a match is judged, too.
        columns = [
            np.full(len(self._counts), self._number),
            self._rows.hi,
            self._rows.lo,
            self._counts,
        ]
        return pa.RecordBatch.from_arrays(
            [pa.array(column) for column in columns], schema=_FOUND
        )


def _joined(parts: Sequence[RowSet]) -> RowSet:
    hi, lo, position, repeats = (
        np.concatenate([part[i] for part in parts]) for i in range(4)
    )
    return row_set(Hashes(hi, lo), position, repeats)


def judge_projection(
    group: pa.Table, *, projections: Sequence[Projection], samples: Mapping[int, RowSet]
) -> pa.Table:
    """Return the verdicts on a projection's edges from all that was found, VERDICTS."""
    number, hi, lo, repeats = (
        column.to_numpy() for column in group.combine_chunks().columns
    )
    held = row_set(Hashes(hi, lo), np.zeros(len(hi), np.int64), repeats)
    seen = held.repeats > 0
    parent = RowSet(
        held.hi[seen], held.lo[seen], held.position[seen], held.repeats[seen]
    )
    projection = projections[int(number[0])]
    pairs = zip(projection.edges, projection.children, strict=True)
    return as_table((edge, compare(samples[child], parent)) for edge, child in pairs)
