"""Sketch pass: every table that an edge still names is read once.

Sketches come to the driver: at most `kmv` hashes a column, whatever the rows.
"""

from __future__ import annotations

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
from winnow.lake.compare.sketched import SKETCHES, Sketches, as_table, as_unreadable
from winnow.lake.files.footers import vouches_for_text
from winnow.lake.files.words import in_words
from winnow.lake.kernels.table_sketch import Sizes, SketchesOfTable, TableSketcher
from winnow.lake.kernels.tables import ColumnStatistics, Family

_MAX_SKETCHES = 10_000_000
#: Text files are read as a whole when they are found, and must be UTF-8.
_CHECKED = ("parquet", "parquet_folder", "delta", "iceberg")


class Wanted(NamedTuple):
    """What to read of a table, in compared names."""

    table: int
    columns: Names
    #: Columns whose rows are sketched; empty for none.
    rows: Names
    #: Columns whose bounds no footer knows.
    bounded: Names = ()


class _Sketching(NamedTuple):
    """What a process needs to know to sketch a table."""

    read: TableRead
    wanted: Wanted


def wanted_of(
    tables: HashedTables,
    edges: TablePairs,
    unknown: Mapping[int, Sequence[str]] | None = None,
    unsure: Mapping[int, Sequence[str]] | None = None,
) -> list[Wanted]:
    """Return what the sketches of these edges need, by table.

    A child is read whole, a parent as far as a child has the column. Rows are sketched
    of children and of parents with the same columns as a child. `unknown` are columns
    whose bounds are to be found, see `unknown_bounds`; `unsure` those that are read
    whether or not an edge names them, see `unsure_texts`.
    """
    columns = {table: set(names) for table, names in (unsure or {}).items()}
    children = np.unique(edges.child)
    # Most children have the columns of many others.
    kinds: dict[frozenset[str], int] = {}
    kind = np.zeros(len(tables.names), np.int64)
    for child in children.tolist():
        names = frozenset(tables.names[child])
        kind[child] = kinds.setdefault(names, len(kinds))
        columns.setdefault(child, set()).update(names)
    whole: set[int] = set(children.tolist())
    numbered = list(kinds)
    pairs = np.unique(np.stack([edges.parent, kind[edges.child]]), axis=1)
    for parent, number in zip(*pairs.tolist(), strict=True):
        columns.setdefault(parent, set()).update(numbered[number])
        if len(numbered[number]) == len(tables.names[parent]):
            whole.add(parent)
    wanted = []
    for table in sorted(columns):
        missing = columns[table].intersection((unknown or {}).get(table, ()))
        wanted.append(
            Wanted(
                table,
                tuple(sorted(columns[table])),
                tables.names_of(table) if table in whole else (),
                tuple(sorted(missing)),
            )
        )
    return wanted


def with_all(tables: HashedTables, wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return what is wanted, and every column and the rows of all tables."""
    known = {item.table: item for item in wanted}
    forms = set(tables.others.values())
    for number, table in enumerate(tables.reader.tables):
        names = tables.names_of(number)
        if names and table.parts and table.reason is None and number not in forms:
            bounded = known[number].bounded if number in known else ()
            known[number] = Wanted(number, names, names, bounded)
    return [known[number] for number in sorted(known)]


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


def unsure_texts(tables: HashedTables, most: float) -> dict[int, list[str]]:
    """Return the text columns, by table, of writers that do not check their UTF-8.

    Those of a table are left out if they take more than `most` bytes.
    """
    unsure = {}
    for number, table in enumerate(tables.reader.tables):
        if table.parts and table.format in _CHECKED:
            texts = {c.name for c in table.columns if c.family is Family.TEXT}
            names = [k for k, n in tables.names[number].items() if n in texts]
            if names and not vouches_for_text(table.writer):
                unsure[number] = names
    return {
        number: names
        for number, names in unsure.items()
        if tables.bytes_of({number: names}) <= most
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
    `known` must be of unchanged tables, of the same sizes and compared names. The
    result holds what is wanted and nothing else.
    """
    read, kept = divided(wanted, known)
    tasks = tables.tasks([item.table for item in read])
    kernel = partial(
        sketch_batches,
        tables=tables,
        wanted={item.table: item for item in read},
        sizes=sizes,
    )
    sketched = collected(
        engine, tasks, kernel, SKETCHES, together="table", most=_MAX_SKETCHES
    )
    without = _without_parts(tables, read, sizes)
    return Sketches(pa.concat_tables([sketched, *without, kept]), sizes)


def divided(
    wanted: Sequence[Wanted], known: Sketches | None
) -> tuple[list[Wanted], pa.Table]:
    """Return what is to be read, and the known sketches of all else, SKETCHES.

    What more an earlier scan sketched does not count, since a full scan lacks it.
    """
    if known is None:
        return list(wanted), SKETCHES.empty_table()
    read = [item for item in wanted if not _covers(known, item)]
    new = {item.table for item in read}
    keys = (_keys(item) for item in wanted if item.table not in new)
    return read, known.of(key for some in keys for key in some)


def sketch_reads(
    wanted: Sequence[Wanted], known: Sketches | None = None
) -> dict[int, Names]:
    """Return which columns of which tables `sketch_tables` reads."""
    return {item.table: item.columns for item in divided(wanted, known)[0]}


def _covers(known: Sketches, item: Wanted) -> bool:
    bounds = known.statistics.get(item.table, {})
    return all(key in known for key in _keys(item)) and all(
        name in bounds for name in item.bounded
    )


def _keys(item: Wanted) -> list[tuple[int, str | None]]:
    """Return what is to be sketched of a table: columns, and rows as None."""
    names: list[str | None] = [*item.columns, *((None,) if item.rows else ())]
    return [(item.table, name) for name in names]


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
    work = partial(_sketches_of, options=tables.reader.storage_options, sizes=sizes)
    each = workers.rows_together(
        _sketchings(tables, wanted, by_table(batches)),
        lambda one: one.read.table.rows,
    )
    yield from workers.shared(work, each, _lost)


def _sketchings(
    tables: HashedTables,
    wanted: Mapping[int, Wanted],
    reads: Iterator[tuple[int, list[ReadTask]]],
) -> Iterator[_Sketching]:
    for number, tasks in reads:
        read = tables.read_of(number)._replace(tasks=tasks)
        yield _Sketching(read, wanted[number])


def _sketches_of(
    some: Sequence[_Sketching], *, options: Mapping[str, Any], sizes: Sizes
) -> list[pa.RecordBatch]:
    """Return SKETCHES of some tables."""
    sketches: list[tuple[int, SketchesOfTable]] = []
    batches: list[pa.RecordBatch] = []
    for read, wanted in some:
        told = _sketched(read, wanted, options, sizes)
        if isinstance(told, str):
            batches += as_unreadable(read.number, told).to_batches()
        else:
            sketches += ((read.number, sketch) for sketch in told)
    return [*batches, *as_table(sketches).to_batches()]


def _lost(one: _Sketching) -> list[pa.RecordBatch]:
    """Return SKETCHES of a table that a process ended at."""
    lost = as_unreadable(one.read.number, workers.ENDED)
    batches: list[pa.RecordBatch] = lost.to_batches()
    return batches


def _sketched(
    read: TableRead, wanted: Wanted, options: Mapping[str, Any], sizes: Sizes
) -> list[SketchesOfTable] | str:
    """Return the sketches of a table, or why its rows cannot be read."""
    try:
        sketcher = _sketcher(wanted, sizes)
        for block in read.blocks(wanted.columns, options):
            sketcher.add(block.first, block.batch, block.families)
        return list(sketcher.sketches())
    except Exception as error:  # whatever it is: one table never costs the others
        return str(getattr(error, "reason", None) or in_words(error))
