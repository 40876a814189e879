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
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from winnow.core.engine import Engine
from winnow.lake import workers
from winnow.lake.compare.hashed_tables import (
    HashedTables,
    Names,
    ReadTask,
    TablePairs,
    TableRead,
    by_table,
)
from winnow.lake.compare.passes import collected
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.verdicts import (
    MAX_VERDICTS,
    VERDICTS,
    LostTables,
    Verdicts,
    added,
    as_table,
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
    the same columns whose sketch keeps all of its rows is not read again. Raises
    LostTables, and what `TableReader.batches` raises.
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
    looked_up = collected(
        engine, tasks, kernel, VERDICTS, together="table", most=MAX_VERDICTS
    )
    exact = [samples[child].complete for child in edges.child.tolist()]
    start = nothing_looked_up(len(exact))._replace(exact=np.array(exact, np.bool_))
    return added(start, pa.concat_tables([known, looked_up]))


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


class _LookUp(NamedTuple):
    """What a process needs to know to look samples up in a parent."""

    parent: TableRead
    projections: Sequence[Projection]
    #: The sampled rows of their children.
    samples: Mapping[int, RowSet]


def look_up(
    batches: Iterator[pa.RecordBatch],
    *,
    tables: HashedTables,
    projections: Mapping[int, Sequence[Projection]],
    samples: Mapping[int, RowSet],
) -> Iterator[pa.RecordBatch]:
    """Yield the verdicts on edges to the parents whose read tasks arrive, VERDICTS."""

    def of(parent: int, tasks: list[ReadTask]) -> _LookUp:
        read = tables.read_of(parent)._replace(tasks=tasks)
        chosen = projections[parent]
        children = {child for one in chosen for child in one.children}
        return _LookUp(read, chosen, {child: samples[child] for child in children})

    work = partial(verdicts_of, options=tables.reader.storage_options)
    each = workers.rows_together(
        (of(parent, tasks) for parent, tasks in by_table(batches)),
        lambda one: one.parent.table.rows,
    )
    lost: dict[int, str] = {}
    for one in workers.shared(work, each, _itself):
        if isinstance(one, _LookUp):
            lost[one.parent.number] = one.parent.table.name
        else:
            yield one
    if lost:
        raise LostTables(lost)


def _itself(one: _LookUp) -> list[_LookUp | pa.RecordBatch]:
    return [one]


def verdicts_of(
    sought: Sequence[_LookUp], *, options: Mapping[str, Any]
) -> list[_LookUp | pa.RecordBatch]:
    """Return the verdicts on the edges to some parents, VERDICTS."""
    batches: list[_LookUp | pa.RecordBatch] = []
    for parent, projections, samples in sought:
        each = [_Sought(one, samples) for one in projections]
        columns = sorted({name for one in each for name in one.names})
        for block in parent.blocks(columns, options):
            hashed = dict(zip(columns, block.columns(), strict=True))
            for one in each:
                one.count([hashed[name] for name in one.names])
        for one in each:
            batches += one.verdicts().to_batches()
    return batches


class _Sought:
    """The sampled rows of a projection's children, and how often they were seen."""

    def __init__(self, projection: Projection, samples: Mapping[int, RowSet]) -> None:
        self.names = projection.names
        self._projection, self._samples = projection, samples
        parts = [samples[child] for child in projection.children]
        self._rows = _joined(parts)
        self._index = Index(self._rows)
        self._counts = np.zeros(len(self._rows.hi), np.int64)

    def count(self, columns: Sequence[HashedColumn]) -> None:
        self._index.count(rows_of_columns(columns), self._counts)

    def verdicts(self) -> pa.Table:
        """Return the verdicts on the projection's edges, VERDICTS."""
        seen = self._counts > 0
        held = self._rows
        parent = RowSet(
            held.hi[seen], held.lo[seen], held.position[seen], self._counts[seen]
        )
        pairs = zip(self._projection.edges, self._projection.children, strict=True)
        return as_table(
            (edge, compare(self._samples[child], parent)) for edge, child in pairs
        )


def _joined(parts: Sequence[RowSet]) -> RowSet:
    hi, lo, position, repeats = (
        np.concatenate([part[i] for part in parts]) for i in range(4)
    )
    return row_set(Hashes(hi, lo), position, repeats)
