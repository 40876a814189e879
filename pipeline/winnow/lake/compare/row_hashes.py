"""Hashes of tables' rows, those of small tables kept while pair after pair asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from winnow.lake.compare.hashed_tables import HashedTables, Names
from winnow.lake.kernels.hashed_columns import rows_of_columns
from winnow.lake.kernels.murmur3 import Hashes

#: Rows of a small table, and how many of them are kept: 64 MB at most.
_SMALL, _KEPT = 1 << 15, 128


class RowHashes:
    """Row hashes by table and columns; a table must not change meanwhile."""

    def __init__(self, tables: HashedTables) -> None:
        self.tables = tables
        self._kept: dict[tuple[int, Names], list[tuple[int, Hashes]]] = {}

    def of(self, table: int, compared: Names) -> Iterable[tuple[int, Hashes]]:
        """Yield (position of the first row, hashes of rows), in the table's order.

        Raises UnreadableTable, partly while the rows are read.
        """
        if self.tables.reader.tables[table].rows > _SMALL:
            return self._read(table, compared)
        blocks = self._kept.pop((table, compared), None)
        if blocks is None:
            blocks = list(self._read(table, compared))
        # The one asked for last stands last; the first goes.
        self._kept[table, compared] = blocks
        if len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept)))
        return blocks

    def _read(self, table: int, compared: Names) -> Iterator[tuple[int, Hashes]]:
        for task in self.tables.reads(table):
            for block in self.tables.blocks(task, compared):
                yield block.first, rows_of_columns(block.columns())
