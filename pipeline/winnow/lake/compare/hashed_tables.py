"""Tables as hashes of the columns that count, wherever they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.lake.files.compared_as_text import Forms, as_text, forms
from winnow.lake.files.reader import TableReader
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.hashed_columns import HashedColumn, hashed_column
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.tables import Family, Table

#: A part above this size is read row group by row group.
_TASK_BYTES = 64 * 2**20

#: What is read at a time; `row_group` −1 is the whole part.
TASKS = pa.schema(
    [("table", pa.int32()), ("part", pa.int32()), ("row_group", pa.int32())]
)
ORDER = ("table", "part", "row_group")
#: A row of them.
ReadTask = tuple[int, int, int]

#: Compared column names in their order; tables with the same ones have equal schemas.
Names = tuple[str, ...]


class TablePairs(NamedTuple):
    """Pairs of tables by number, both `(n,)`: is `child` contained in `parent`?"""

    child: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> TablePairs:
        """Return some of the edges."""
        return TablePairs(self.child[chosen], self.parent[chosen])


class RowBlock(NamedTuple):
    """Consecutive rows of a table."""

    #: Position of the first row in the table.
    first: int
    #: Columns in the order asked for, and what their values are compared as.
    batch: pa.RecordBatch
    families: Sequence[Family]

    def columns(self) -> list[HashedColumn]:
        """Return the hashes of each column, distinct ones where it comes coded."""
        pairs = zip(self.batch.columns, self.families, strict=True)
        return [hashed_column(column, family) for column, family in pairs]

    def hashes(self) -> list[Hashes]:
        """Return the hashes of each column's values."""
        pairs = zip(self.batch.columns, self.families, strict=True)
        return [hash_values(column, family) for column, family in pairs]


@dataclass(frozen=True)
class HashedTables:
    """The catalogue's tables and, for each, `{compared name: its own name}`.

    The compared names leave ignored columns out, and are folded where the names are
    compared so. Pickles to a worker.
    """

    reader: TableReader
    names: Sequence[Mapping[str, str]]
    #: Numbers of tables in other forms, by the number of the table in its own.
    others: dict[tuple[int, tuple[tuple[str, str], ...]], int] = field(
        default_factory=dict
    )

    def paired(self, child: int, parent: int) -> tuple[int, int] | None:
        """Return the numbers under which two tables can be compared, or None.

        Those of the same tables with some columns as text where their types, inferred
        from text, have no value in common.
        """
        tables = self.reader.tables
        child_names, held = self.names[child], self.names[parent]
        matched = {name: held[key] for key, name in child_names.items()}
        chosen = forms(tables[child], tables[parent], matched)
        if chosen is None:
            return None
        return self.in_form(child, chosen[0]), self.in_form(parent, chosen[1])

    def in_form(self, table: int, chosen: Forms) -> int:
        """Return the number of a table with some columns in another form."""
        key = table, tuple(sorted(chosen.items()))
        if not chosen:
            return table
        if key not in self.others:
            tables, names = self.reader.tables, self.names
            if not (isinstance(tables, list) and isinstance(names, list)):
                raise TypeError("the tables are not in lists, which can grow")
            self.others[key] = len(tables)
            tables.append(as_text(tables[table], chosen))
            names.append(names[table])
        return self.others[key]

    def own_numbers(self) -> npt.NDArray[np.int64]:
        """Return (n,) the number of each table in its own form."""
        numbers = np.arange(len(self.reader.tables))
        for (table, _), number in self.others.items():
            numbers[number] = table
        return numbers

    def names_of(self, table: int) -> Names:
        """Return the compared names of a table, in the order in which rows hash."""
        return tuple(sorted(self.names[table]))

    def tasks(self, tables: Sequence[int]) -> pa.Table:
        """Return what has to be read to read these tables, one row a read."""
        rows = [task for table in tables for task in self.reads(table)]
        columns = np.array(rows, np.int32).reshape(-1, len(TASKS)).T
        return pa.table([pa.array(column) for column in columns], schema=TASKS)

    def reads(self, table: int) -> Iterator[ReadTask]:
        """Yield a table's tasks as (table, part, row group)."""
        for number, part in enumerate(self.reader.tables[table].parts):
            apart = part.bytes > _TASK_BYTES and not part.dialect
            for group in range(len(part.row_groups)) if apart else [-1]:
                yield table, number, group

    def read_of(self, table: int) -> TableRead:
        """Return what another process needs to know to read a table."""
        whole, names = self.reader.tables[table], self.names[table]
        return TableRead(table, whole, names, list(self.reads(table)))

    def blocks(self, task: ReadTask, compared: Sequence[str]) -> Iterator[RowBlock]:
        """Read the `compared` columns of a task.

        Raises what `TableReader.batches` raises.
        """
        table, part, group = task
        columns = [self.names[table][name] for name in compared]
        families = [c.family for c in self.reader.tables[table].chosen(columns)]
        row_group = None if group < 0 else group
        read = self.reader.batches(
            table, part, row_group, columns, presence=True, coded=True
        )
        for first, batch in read:
            yield RowBlock(first, batch, families)

    def bytes_of(self, columns: Mapping[int, Iterable[str]]) -> int:
        """Return the stored bytes that reading these columns of each table reads."""
        total = 0
        for table, names in columns.items():
            stored = [self.names[table][name] for name in names]
            for _, part, group in self.reads(table):
                chosen = None if group < 0 else group
                total += self.reader.bytes_of(table, part, chosen, stored)
        return total


class TableRead(NamedTuple):
    """What a process needs to know to read a table."""

    number: int
    table: Table
    #: `{compared name: its own name}`
    names: Mapping[str, str]
    tasks: Sequence[ReadTask]

    def blocks(
        self, compared: Sequence[str], options: Mapping[str, Any]
    ) -> Iterator[RowBlock]:
        """Read the `compared` columns, as `HashedTables.blocks` does."""
        tables = HashedTables(TableReader([self.table], options), [self.names])
        for _, part, group in self.tasks:
            yield from tables.blocks((0, part, group), compared)


def rows_of(tasks: pa.Table | pa.RecordBatch) -> Iterator[ReadTask]:
    """Iterate over tasks as (table, part, row group)."""
    return zip(*(tasks.column(name).to_pylist() for name in ORDER), strict=True)


def by_table(
    batches: Iterator[pa.RecordBatch],
) -> Iterator[tuple[int, list[ReadTask]]]:
    """Yield each table with those of its tasks that come one after another."""
    tasks: list[ReadTask] = []
    for batch in batches:
        for task in rows_of(batch):
            if tasks and tasks[0][0] != task[0]:
                yield tasks[0][0], tasks
                tasks = []
            tasks.append(task)
    if tasks:
        yield tasks[0][0], tasks
