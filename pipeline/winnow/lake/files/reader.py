"""Rows of tables by reference: (table, part, row group) or row positions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.core.parquet_footer import group_rows
from winnow.lake.files import (
    text_readers as text_tables,
)
from winnow.lake.files.files import Files
from winnow.lake.files.leaves import flattened
from winnow.lake.files.words import in_words
from winnow.lake.kernels.families import family, value_type
from winnow.lake.kernels.tables import Family, Part, Table

_BATCH_ROWS = 1 << 16
#: A part below this size is decoded by one thread: waking others takes longer.
_SMALL_PART = 4 * 2**20


#: From so many rows on, to tell texts apart by their codes takes less time.
_MANY_ROWS = 4096


class _ColumnForms(NamedTuple):
    """In which form columns are read, see `TableReader.batches`."""

    presence: bool
    coded: bool


class UnreadableTable(InputError):
    """A table whose footer could be read, and whose rows cannot."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(
            f"{table}: {reason}; repair the table, or leave it out with input.exclude"
        )
        self.table = table
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableTable], tuple[str, str]]:
        return UnreadableTable, (self.table, self.reason)


@dataclass(frozen=True)
class TableReader:
    """Reads the catalogue's tables by their number; pickles to any worker.

    A row's position counts over a table's parts in their order, from 0.
    """

    tables: Sequence[Table]
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    def batches(
        self,
        table: int,
        part: int,
        row_group: int | None,
        columns: Sequence[str],
        *,
        presence: bool = False,
        coded: bool = False,
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (position of the first row in the table, leaf columns as asked for).

        `row_group` None reads the whole part; with `presence` null structs are told
        from structs of nulls, see `leaves.flattened`; `coded`, texts may come as
        dictionaries where they are stored so. A text column whose bytes are no
        UTF-8 comes as bytes; a column that a part lacks as nulls; parts that differ in
        width or unit each as they are. Raises UnreadableTable if the rows cannot be
        read and KeyError if the table has no such column.
        """
        whole = self.tables[table]
        whole.chosen(columns)
        source = whole.parts[part]
        first = sum(p.rows for p in whole.parts[:part])
        groups = range(len(source.row_groups)) if row_group is None else [row_group]
        first += sum(source.row_groups[: groups[0]]) if len(groups) else 0
        how = _ColumnForms(presence, coded)
        with _naming(whole.name):
            for batch in self._stored(whole, source, groups, columns, how):
                yield first, batch
                first += len(batch)

    def rows(
        self, table: int, positions: npt.ArrayLike, columns: Sequence[str]
    ) -> pa.Table:
        """Return the rows at these positions, in that order, as leaf columns.

        Reads only the row groups that hold one of them. Raises IndexError if there is
        no such row, and what `batches` raises.
        """
        whole = self.tables[table]
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < whole.rows):
            raise IndexError(f"{whole.name} has {whole.rows} rows")
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        batches: list[pa.RecordBatch] = []
        for part, group, first, size in _groups(whole):
            left, right = np.searchsorted(ordered, [first, first + size])
            if left < right:
                read = self.batches(table, part, group, columns)
                batches += _picked(read, ordered[left:right])
        back = np.empty(len(wanted), np.int64)
        back[order] = np.arange(len(wanted))
        return _one_table(whole, batches, columns).take(pa.array(back))

    def bytes_of_rows(
        self, table: int, positions: npt.ArrayLike, columns: Sequence[str]
    ) -> int:
        """Return how many stored bytes `rows` reads with these arguments, at most."""
        ordered = np.sort(np.asarray(positions, np.int64))
        total = 0
        for part, group, first, size in _groups(self.tables[table]):
            left, right = np.searchsorted(ordered, [first, first + size])
            if left < right:
                total += self.bytes_of(table, part, group, columns)
        return total

    def bytes_of(
        self, table: int, part: int, row_group: int | None, columns: Sequence[str]
    ) -> int:
        """Return how many stored bytes `batches` reads with these arguments.

        A row group of a Parquet file is taken to hold its rows' share of a column;
        of a text file every byte is read.
        """
        source = self.tables[table].parts[part]
        if source.dialect:
            return source.bytes
        stored = sum(source.column_bytes.get(name, 0) for name in columns)
        if row_group is None or not source.rows:
            return stored
        before = sum(source.row_groups[:row_group])
        upto = before + source.row_groups[row_group]
        # The shares of all row groups add up to the whole.
        return stored * upto // source.rows - stored * before // source.rows

    def _stored(
        self,
        table: Table,
        part: Part,
        groups: Sequence[int],
        columns: Sequence[str],
        how: _ColumnForms,
    ) -> Iterator[pa.RecordBatch]:
        held = [name for name in columns if _holds(table, part, name)]
        if held and len(held) == len(columns):
            yield from self._read(table, part, groups, columns, how)
            return
        constants = dict(part.constants)
        for rows, stored in self._held(table, part, groups, held, how):
            arrays = [
                stored[name]
                if name in stored
                else _constant(table, constants.get(name), name, rows)
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _held(
        self,
        table: Table,
        part: Part,
        groups: Sequence[int],
        columns: Sequence[str],
        how: _ColumnForms,
    ) -> Iterator[tuple[int, dict[str, pa.Array]]]:
        """Yield (rows, columns that the file itself holds)."""
        if not columns:
            for group in groups:
                yield part.row_groups[group], {}
            return
        for batch in self._read(table, part, groups, columns, how):
            yield len(batch), dict(zip(columns, batch.columns, strict=True))

    def _read(
        self,
        table: Table,
        part: Part,
        groups: Sequence[int],
        columns: Sequence[str],
        how: _ColumnForms,
    ) -> Iterator[pa.RecordBatch]:
        if part.dialect:
            return text_tables.batches(
                self._files, table, part, columns, presence=how.presence
            )
        return self._of_parquet(part, groups, columns, how)

    def _of_parquet(
        self,
        part: Part,
        groups: Sequence[int],
        columns: Sequence[str],
        how: _ColumnForms,
    ) -> Iterator[pa.RecordBatch]:
        coded = columns if how.coded and part.rows >= _MANY_ROWS else ()
        with self._files.parquet(part.path, coded) as file:
            if tuple(group_rows(file.metadata)) != part.row_groups:
                raise OSError("it changed since the scan")
            read = file.iter_batches(
                batch_size=_BATCH_ROWS,
                row_groups=list(groups),
                columns=list(columns),
                use_threads=part.bytes > _SMALL_PART,
            )
            for batch in read:
                yield flattened(batch, columns, presence=how.presence)

    @property
    def _files(self) -> Files:
        return Files(self.storage_options)


def _holds(table: Table, part: Part, name: str) -> bool:
    if part.dialect:
        # Objects of nulls are not yet null objects.
        objects = "structure" in dict(part.dialect)
        return objects or table.column(name).family is not Family.NULL
    return name in part.column_bytes


def _groups(table: Table) -> Iterator[tuple[int, int | None, int, int]]:
    """Yield (part, row group, position of its first row, rows)."""
    first = 0
    for number, part in enumerate(table.parts):
        for group, rows in enumerate(part.row_groups):
            yield number, group, first, rows
            first += rows


def _picked(
    batches: Iterator[tuple[int, pa.RecordBatch]], positions: npt.NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows at sorted positions, reading no further than the last."""
    for start, batch in batches:
        low, high = np.searchsorted(positions, [start, start + len(batch)])
        if low < high:
            yield batch.take(pa.array(positions[low:high] - start))
        if high == len(positions):
            return


def _constant(table: Table, value: pa.Scalar | None, name: str, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, value_type(table.column(name).type))
    return pa.repeat(value, rows)


def _one_table(
    table: Table, batches: Sequence[pa.RecordBatch], columns: Sequence[str]
) -> pa.Table:
    """Return batches as one table, although parts may differ in type."""
    if not batches:
        fields = [(name, value_type(table.column(name).type)) for name in columns]
        return pa.schema(fields).empty_table()
    raw = {
        name
        for batch in batches
        for name in columns
        if family(batch.schema.field(name).type) is Family.BINARY
    }
    tables = [pa.Table.from_batches([_as_bytes(batch, raw)]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive")


def _as_bytes(batch: pa.RecordBatch, columns: Collection[str]) -> pa.RecordBatch:
    """Return a batch with these columns as bytes, as other batches hold them."""
    for name in columns:
        position = batch.schema.get_field_index(name)
        array = batch.column(position).cast(pa.large_binary())
        batch = batch.set_column(position, name, array)
    return batch


@contextmanager
def _naming(table: str) -> Iterator[None]:
    """Say of which table the rows cannot be read, whatever library says so."""
    try:
        yield
    except (UnreadableTable, KeyError, IndexError):
        raise
    except Exception as error:
        # Whatever it is: one table never costs the others.
        reason = in_words(error)
        raise UnreadableTable(table, f"its rows cannot be read ({reason})") from error
