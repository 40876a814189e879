"""Column sets of few rows, compared by the process that reads their tables.

Nothing is exchanged: to write hashes to files and to sort them by group takes longer
than to compare those of small tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from winnow.core.engine import Engine
from winnow.lake import workers
from winnow.lake.compare.hashed_tables import HashedTables, Names, TableRead
from winnow.lake.compare.passes import collected
from winnow.lake.compare.verdicts import (
    MAX_VERDICTS,
    VERDICTS,
    LostTables,
    as_table,
)
from winnow.lake.kernels.containment import RowSet, compare, no_rows, row_set
from winnow.lake.kernels.hashed_columns import rows_of_columns
from winnow.lake.kernels.murmur3 import Hashes

_TASKS = pa.schema([("sets", pa.int32())])


class ColumnSet(NamedTuple):
    """Edges whose children have the same columns, and the groups of their rows."""

    names: Names
    #: (number of the edge, child, parent)
    edges: tuple[tuple[int, int, int], ...]
    #: The first group, and how many there are.
    first: int
    groups: int

    @property
    def tables(self) -> set[int]:
        """Every table whose rows are hashed on these columns."""
        return {table for edge in self.edges for table in edge[1:]}


class _Sets(NamedTuple):
    """Column sets that share tables, and what a process needs to know to read those."""

    sets: Sequence[ColumnSet]
    reads: Sequence[TableRead]


def compared(
    engine: Engine, tables: HashedTables, together: Sequence[Sequence[ColumnSet]]
) -> pa.Table:
    """Return the verdicts on the edges of column sets, VERDICTS.

    together: those that share tables. Raises LostTables, and UnreadableTable if rows
    cannot be read.
    """
    kernel = partial(compare_sets, tables=tables, together=together)
    numbers = pa.array(np.arange(len(together), dtype=np.int32))
    tasks = pa.table([numbers], schema=_TASKS)
    return collected(
        engine, tasks, kernel, VERDICTS, together="sets", most=MAX_VERDICTS
    )


def compare_sets(
    batches: Iterator[pa.RecordBatch],
    *,
    tables: HashedTables,
    together: Sequence[Sequence[ColumnSet]],
) -> Iterator[pa.RecordBatch]:
    """Yield the verdicts on the column sets whose numbers arrive, VERDICTS."""
    numbers = (i for batch in batches for i in batch.column("sets").to_pylist())
    work = partial(verdicts_of, options=tables.reader.storage_options)
    each = workers.rows_together(
        (_of(tables, together[i]) for i in numbers),
        lambda one: sum(read.table.rows for read in one.reads),
    )
    lost: list[_Sets] = []
    for one in workers.shared(work, each, _itself):
        if isinstance(one, _Sets):
            lost.append(one)
        else:
            yield one
    if lost:
        raise LostTables(_ended_at(lost, work))


def _of(tables: HashedTables, sets: Sequence[ColumnSet]) -> _Sets:
    held = sorted({table for one in sets for table in one.tables})
    return _Sets(sets, [tables.read_of(table) for table in held])


def _itself(one: _Sets) -> list[_Sets | pa.RecordBatch]:
    return [one]


def _ended_at(
    lost: Sequence[_Sets],
    work: Callable[[Sequence[_Sets]], list[_Sets | pa.RecordBatch]],
) -> dict[int, str]:
    """Return at which tables processes ended: each is read by itself."""
    again = list(workers.shared(work, ([_alone(*one)] for one in _each(lost)), _itself))
    reads = [one.reads[0] for one in again if isinstance(one, _Sets)]
    # Where each by itself does no harm they are too much together.
    reads = reads or [read for one in lost for read in one.reads]
    return {read.number: read.table.name for read in reads}


def _each(lost: Sequence[_Sets]) -> Iterator[tuple[Sequence[ColumnSet], TableRead]]:
    for sets, reads in lost:
        for read in reads:
            yield [one for one in sets if read.number in one.tables], read


def _alone(sets: Sequence[ColumnSet], read: TableRead) -> _Sets:
    """Return what has a table's rows hashed, and no pair compared."""
    return _Sets([one._replace(edges=()) for one in sets], [read])


def verdicts_of(
    pieces: Sequence[_Sets], *, options: Mapping[str, Any]
) -> list[_Sets | pa.RecordBatch]:
    """Return the verdicts on the edges of some column sets, VERDICTS."""
    batches: list[_Sets | pa.RecordBatch] = []
    for sets, reads in pieces:
        rows: dict[tuple[Names, int], list[RowSet]] = defaultdict(list)
        for read in reads:
            names = [
                one.names for one in sets if not one.edges or read.number in one.tables
            ]
            for some, block in _blocks(read, names, options):
                rows[some, read.number].append(block)
        whole = {key: _joined(blocks) for key, blocks in rows.items()}
        verdicts = as_table(
            (edge, compare(whole[one.names, child], held))
            for one in sets
            for edge, child, parent in one.edges
            if (one.names, child) in whole
            for held in (whole.get((one.names, parent), no_rows()),)
        )
        batches += verdicts.to_batches()
    return batches


def _blocks(
    read: TableRead, names: Sequence[Names], options: Mapping[str, Any]
) -> Iterator[tuple[Names, RowSet]]:
    """Yield the distinct rows of each block of a table on each set of columns."""
    columns = sorted({name for some in names for name in some})
    for block in read.blocks(columns, options):
        hashed = dict(zip(columns, block.columns(), strict=True))
        position = np.arange(block.first, block.first + len(block.batch))
        for some in names:
            yield some, row_set(rows_of_columns([hashed[n] for n in some]), position)


def _joined(blocks: Sequence[RowSet]) -> RowSet:
    """Return the distinct rows of all blocks of a table."""
    if len(blocks) == 1:
        return blocks[0]
    hi, lo, position, repeats = (
        np.concatenate([block[i] for block in blocks]) for i in range(4)
    )
    return row_set(Hashes(hi, lo), position, repeats)
