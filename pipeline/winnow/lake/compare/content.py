"""Exact verification: all rows of both tables, hashed, partitioned and compared.

Every table is hashed once per set of columns, however many edges have them. Of column
sets that share tables and have few rows, one process compares all (`whole_sets`). Rows
of the others go to the group of their column set and a range of their hashes, so that a
group holds at most about `_GROUP_ROWS` distinct rows; equal rows of a block travel as
one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.engine import Engine
from winnow.lake.compare import whole_sets
from winnow.lake.compare.hashed_tables import (
    ORDER,
    HashedTables,
    Names,
    TablePairs,
    by_table,
)
from winnow.lake.compare.verdicts import (
    VERDICTS,
    Verdicts,
    added,
    as_table,
    gather,
    nothing_looked_up,
)
from winnow.lake.compare.whole_sets import ColumnSet
from winnow.lake.kernels.containment import RowSet, compare, no_rows, row_set
from winnow.lake.kernels.hashed_columns import rows_of_columns
from winnow.lake.kernels.murmur3 import Hashes

# Small enough to be sorted within a processor's cache.
_GROUP_ROWS = 200_000
#: Groups whose rows one process may hold, to compare them where it has read them.
_WHOLE_GROUPS = 4

_ROWS = pa.schema(
    [
        ("group", pa.int32()),
        ("table", pa.int32()),
        ("hi", pa.uint64()),
        ("lo", pa.uint64()),
        ("position", pa.int64()),
        ("repeats", pa.int32()),
    ]
)


def verify_edges(
    engine: Engine,
    tables: HashedTables,
    edges: TablePairs,
    group_rows: int = _GROUP_ROWS,
) -> Verdicts:
    """Compare all rows of both tables of each edge; all verdicts are exact."""
    few, sets = _divided(tables, edges, group_rows)
    verdicts = nothing_looked_up(len(edges.child))
    if few:
        verdicts = added(verdicts, whole_sets.compared(engine, tables, few))
    return verdicts if not sets else _exchanged(engine, tables, sets, verdicts)


def _exchanged(
    engine: Engine, tables: HashedTables, sets: Sequence[ColumnSet], start: Verdicts
) -> Verdicts:
    """Add to verdicts those on column sets of many rows, which groups are made of."""
    wanted: dict[int, list[ColumnSet]] = defaultdict(list)
    for column_set in sets:
        for table in column_set.tables:
            wanted[table].append(column_set)
    kernel = partial(hash_tables, tables=tables, wanted=dict(wanted))
    rows = engine.map_batches(
        engine.from_table(tables.tasks(sorted(wanted))),
        kernel,
        _ROWS,
        order_by=ORDER,
        together="table",
    )
    verdicts = engine.map_groups(
        rows, "group", partial(compare_group, sets=sets), VERDICTS
    )
    return gather(engine, verdicts, start)


def content_reads(tables: HashedTables, edges: TablePairs) -> dict[int, set[str]]:
    """Return which columns of which tables `verify_edges` reads."""
    reads: dict[int, set[str]] = defaultdict(set)
    for child, parent in zip(*edges, strict=True):
        for table in (int(child), int(parent)):
            reads[table].update(tables.names[child])
    return dict(reads)


def _divided(
    tables: HashedTables, edges: TablePairs, group_rows: int
) -> tuple[list[list[ColumnSet]], list[ColumnSet]]:
    """Return column sets of few rows, those that share tables together, and others."""
    members: dict[Names, list[tuple[int, int, int]]] = defaultdict(list)
    for i, (child, parent) in enumerate(zip(*edges, strict=True)):
        members[tables.names_of(child)].append((i, int(child), int(parent)))
    sets = [ColumnSet(names, tuple(some), 0, 1) for names, some in members.items()]
    few, many, first = [], [], 0
    for together in _sharing_tables(sets):
        held = {table for one in together for table in one.tables}
        rows = _rows(tables, held)
        if rows <= _WHOLE_GROUPS * group_rows:
            few.append((rows, together))
            continue
        for one in together:
            groups = _rows(tables, one.tables) // group_rows + 1
            many.append(one._replace(first=first, groups=groups))
            first += groups
    # The largest are begun first, so that no process is left with one at the end.
    few.sort(key=lambda one: -one[0])
    return [together for _, together in few], many


def _rows(tables: HashedTables, some: Iterable[int]) -> int:
    return sum(tables.reader.tables[table].rows for table in some)


def _sharing_tables(sets: Sequence[ColumnSet]) -> list[list[ColumnSet]]:
    """Return the column sets in groups that have no table in common."""
    above: dict[int, int] = {}

    def group(table: int) -> int:
        """Return the table that stands for all that are together with this one."""
        while (higher := above.setdefault(table, table)) != table:
            above[table] = table = above[higher]
        return table

    for one in sets:
        first, *others = one.tables
        for table in others:
            above[group(table)] = group(first)
    together: dict[int, list[ColumnSet]] = defaultdict(list)
    for one in sets:
        together[group(one.edges[0][1])].append(one)
    return [*together.values()]


def hash_tables(
    batches: Iterator[pa.RecordBatch],
    *,
    tables: HashedTables,
    wanted: Mapping[int, Sequence[ColumnSet]],
) -> Iterator[pa.RecordBatch]:
    """Yield the hashed rows of tables whose read tasks arrive, _ROWS."""
    for table, tasks in by_table(batches):
        columns = sorted({name for item in wanted[table] for name in item.names})
        for task in tasks:
            for block in tables.blocks(task, columns):
                hashed = dict(zip(columns, block.columns(), strict=True))
                position = np.arange(block.first, block.first + len(block.batch))
                for item in wanted[table]:
                    rows = rows_of_columns([hashed[name] for name in item.names])
                    yield _addressed(row_set(rows, position), table, item)


def _addressed(rows: RowSet, table: int, item: ColumnSet) -> pa.RecordBatch:
    """Send each row to its group: equal hashes meet, whatever the table."""
    # By range, so that a block's rows, ascending as they are, stay together.
    part = (rows.hi >> np.uint64(32)) * np.uint64(item.groups) >> np.uint64(32)
    columns = {
        "group": item.first + part.astype(np.int32),
        "table": np.full(len(rows.hi), table, np.int32),
        **rows._asdict(),
        "repeats": rows.repeats.astype(np.int32),
    }
    arrays = [pa.array(columns[name]) for name in _ROWS.names]
    return pa.RecordBatch.from_arrays(arrays, schema=_ROWS)


def compare_group(group: pa.Table, *, sets: Sequence[ColumnSet]) -> pa.Table:
    """Return the verdicts of a group's edges on its share of the rows, VERDICTS."""
    columns = group.combine_chunks()
    number, table, hi, lo, position, repeats = (c.to_numpy() for c in columns.columns)
    first = [item.first for item in sets]
    item = sets[int(np.searchsorted(first, number[0], side="right")) - 1]
    rows: dict[int, RowSet] = {}
    for held, row_places in _places(table):
        rows[held] = row_set(
            Hashes(hi[row_places], lo[row_places]),
            position[row_places],
            repeats[row_places],
        )
    nothing = no_rows()
    return as_table(
        (edge, compare(rows[child], rows.get(parent, nothing)))
        for edge, child, parent in item.edges
        if child in rows
    )


def _places(
    table: npt.NDArray[np.int32],
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each table with the places of its rows."""
    order = np.argsort(table, kind="stable")
    ends = np.flatnonzero(np.diff(table[order])) + 1
    for row_places in np.split(order, ends):
        yield int(table[row_places[0]]), row_places
