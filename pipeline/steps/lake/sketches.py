"""Sketch pass: every table that an edge still names is read once.

Sketches come to the driver: at most `kmv` hashes a column, whatever the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.algorithms.lake.table_sketch import Sizes, TableSketcher
from pipeline.core.engine import Engine
from pipeline.core.tables import ColumnStatistics
from pipeline.steps.lake.hashed_tables import (
    ORDER,
    Edges,
    HashedTables,
    Names,
    by_table,
)
from pipeline.steps.lake.sketched import (
    SKETCHES,
    Sketches,
    as_table,
    as_unreadable,
)
from pipeline.store.lake.reader import UnreadableTable

_MAX_SKETCHES = 10_000_000


class Wanted(NamedTuple):
    """What to read of a table, in compared names."""

    table: int
    columns: Names
    #: Columns whose rows are sketched; empty for none.
    rows: Names
    #: Columns whose bounds no footer knows.
    bounded: Names = ()


def wanted_of(
    tables: HashedTables,
    edges: Edges,
    unknown: Mapping[int, Sequence[str]] | None = None,
) -> list[Wanted]:
    """Return what the sketches of these edges need, by table.

    A child is read whole, a parent as far as a child has the column. Rows are sketched
    of children and of parents with the same columns as a child. `unknown` are columns
    whose bounds are to be found, see `unknown_bounds`.
    """
    columns: dict[int, set[str]] = {}
    whole: set[int] = set(edges.child.tolist())
    for child, parent in zip(*map(np.ndarray.tolist, edges), strict=True):
        names = tables.names[child]
        columns.setdefault(parent, set()).update(names)
        columns.setdefault(child, set()).update(names)
        if len(names) == len(tables.names[parent]):
            whole.add(parent)
    found = []
    for table in sorted(columns):
        missing = columns[table].intersection((unknown or {}).get(table, ()))
        found.append(
            Wanted(
                table,
                tuple(sorted(columns[table])),
                tables.names_of(table) if table in whole else (),
                tuple(sorted(missing)),
            )
        )
    return found


def unknown_bounds(
    statistics: Sequence[Mapping[str, ColumnStatistics]],
) -> dict[int, list[str]]:
    """Return the columns, by table and compared name, that footers say too little of.

    `statistics[i]` are those of table i by compared name.
    """
    return {
        table: [name for name, column in columns.items() if _vague(column)]
        for table, columns in enumerate(statistics)
    }


def _vague(column: ColumnStatistics) -> bool:
    if column.vacant:
        return False
    bounds = column.low, column.high, column.low_certain, column.high_certain
    return None in (column.nulls, *bounds)


def sketch_tables(
    engine: Engine,
    tables: HashedTables,
    wanted: Sequence[Wanted],
    sizes: Sizes,
    known: Sketches | None = None,
) -> Sketches:
    """Read and sketch tables; one whose rows cannot be read has a reason instead.

    Tables of which an earlier scan's sketches hold everything wanted are not read:
    `known` must be of unchanged tables, of the same sizes and compared names.
    """
    read = [item for item in wanted if known is None or not _covers(known, item)]
    tasks = tables.tasks([item.table for item in read])
    kernel = partial(
        sketch_batches,
        tables=tables,
        wanted={item.table: item for item in read},
        sizes=sizes,
    )
    frame = engine.map_batches(
        engine.from_table(tasks), kernel, SKETCHES, order_by=ORDER
    )
    found = [
        engine.collect(frame, _MAX_SKETCHES),
        *_without_parts(tables, read, sizes),
    ]
    if known is not None:
        new = {item.table for item in read}
        found.append(known.of_tables({item.table for item in wanted} - new))
    return Sketches(pa.concat_tables(found), sizes)


def sketch_reads(
    wanted: Sequence[Wanted], known: Sketches | None = None
) -> dict[int, Names]:
    """Return which columns of which tables `sketch_tables` reads."""
    return {
        item.table: item.columns
        for item in wanted
        if known is None or not _covers(known, item)
    }


def _covers(known: Sketches, item: Wanted) -> bool:
    if item.table in known.unreadable:
        return True
    rows = (None,) if item.rows else ()
    bounds = known.statistics.get(item.table, {})
    return all((item.table, name) in known for name in (*item.columns, *rows)) and all(
        name in bounds for name in item.bounded
    )


def _without_parts(
    tables: HashedTables, wanted: Sequence[Wanted], sizes: Sizes
) -> list[pa.Table]:
    """Return the sketches of tables that no file belongs to."""
    return [
        as_table((item.table, sketch) for sketch in _sketcher(item, sizes).sketches())
        for item in wanted
        if not tables.reader.tables[item.table].parts
    ]


def _sketcher(item: Wanted, sizes: Sizes) -> TableSketcher:
    return TableSketcher(item.columns, item.rows, item.bounded, sizes)


def sketch_batches(
    batches: Iterator[pa.RecordBatch],
    *,
    tables: HashedTables,
    wanted: Mapping[int, Wanted],
    sizes: Sizes,
) -> Iterator[pa.RecordBatch]:
    """Yield the sketches of tables whose read tasks arrive, SKETCHES."""
    for table, tasks in by_table(batches):
        item = wanted[table]
        sketcher = _sketcher(item, sizes)
        try:
            for task in tasks:
                for block in tables.blocks(task, item.columns):
                    sketcher.add(block.first, block.batch, block.families)
        except UnreadableTable as error:
            found = as_unreadable(table, error.reason)
        else:
            found = as_table((table, sketch) for sketch in sketcher.sketches())
        yield from found.to_batches()
