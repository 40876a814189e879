"""Which rows of an Iceberg table's files are deleted: by position, and by value.

As the specification has it ("Scan Planning", "Delete Formats"): a delete file counts
for data files of its partition; by value for those written before it, by position also
for those of the same commit. pyiceberg reads no deletes by value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.table_logs.stored_columns import Told, stored_column

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import StaticTable

_BATCH_ROWS = 1 << 16
#: The number that the specification gives the column of paths in delete files.
_PATH = 2147483546
#: How files are looked for columns in.
_MODE = "id"


@dataclass(frozen=True)
class PlannedFile:
    """A data file of a snapshot, and the delete files that count for it."""

    file: DataFile
    by_position: tuple[DataFile, ...]
    by_value: tuple[DataFile, ...]

    @property
    def path(self) -> str:
        """As the metadata has it."""
        return str(self.file.file_path)


def planned_files(table: StaticTable) -> list[PlannedFile]:
    """Return the data files of a table's current snapshot, by their paths."""
    from pyiceberg.manifest import DataFileContent

    snapshot = table.current_snapshot()
    if snapshot is None:
        return []
    entries = [
        entry
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
    ]
    whole = {n for n, spec in table.metadata.specs().items() if not spec.fields}
    positions, values = _Index(), _Index()
    for entry in entries:
        file = entry.data_file
        if file.content == DataFileContent.POSITION_DELETES:
            positions[_one_path(file) or _partition(file)].append(entry)
        elif file.content == DataFileContent.EQUALITY_DELETES:
            # Those of no partition count for all files.
            everywhere = (file.spec_id or 0) in whole
            values[None if everywhere else _partition(file)].append(entry)
    planned = []
    for entry in entries:
        file = entry.data_file
        if file.content == DataFileContent.DATA:
            age, partition = entry.sequence_number or 0, _partition(file)
            by_position = positions.of((file.file_path, partition), age)
            by_value = values.of((None, partition), age + 1)
            planned.append(PlannedFile(file, by_position, by_value))
    return sorted(planned, key=lambda one: one.path)


class _Index(defaultdict[Any, list[Any]]):
    """Entries of delete files, by what they are for."""

    def __init__(self) -> None:
        super().__init__(list)

    def of(self, keys: Iterable[Any], age: int) -> tuple[DataFile, ...]:
        """Return the delete files for one of these that are at least of this age."""
        return tuple(
            entry.data_file
            for key in keys
            for entry in self.get(key, ())
            if (entry.sequence_number or 0) >= age
        )


def _partition(file: DataFile) -> tuple[int, Any]:
    return file.spec_id or 0, file.partition


def _one_path(delete: DataFile) -> str | None:
    """Return the one data file that a delete file is for, if its bounds say so."""
    least = (delete.lower_bounds or {}).get(_PATH)
    if least is None or least != (delete.upper_bounds or {}).get(_PATH):
        return None
    return str(least, "utf-8", "replace")


@dataclass(frozen=True)
class Deletes:
    """Finds the deleted rows of data files; delete files are read once each.

    fields: the table's, with their numbers, as `told_by_numbers` gives them. schema:
    the same as Arrow's. Finding raises ValueError for delete files that are not read.
    """

    io: FileIO
    fields: Sequence[Told]
    schema: pa.Schema
    _positions: dict[str, dict[str, list[pa.Array]]]
    _values: dict[str, tuple[list[str], pa.Table]]

    def rows(
        self, planned: PlannedFile, constants: Mapping[str, pa.Scalar]
    ) -> npt.NDArray[np.int64]:
        """Return the numbers of a data file's deleted rows, sorted.

        constants: the values of columns that the file need not hold.
        """
        gone = [self._by_position(d, planned.path) for d in planned.by_position]
        gone += self._by_value(planned, constants)
        return np.unique(np.concatenate([np.empty(0, np.int64), *gone]))

    def left(
        self,
        planned: PlannedFile,
        gone: npt.NDArray[np.int64],
        constants: Mapping[str, pa.Scalar],
    ) -> Iterator[pa.RecordBatch]:
        """Yield a file's rows as of the schema, without those of these numbers."""
        first = 0
        for table in self._columns(planned.path, self.schema.names, constants):
            start, end = np.searchsorted(gone, [first, first + len(table)])
            keep = np.ones(len(table), bool)
            keep[gone[start:end] - first] = False
            first += len(table)
            rows = table.filter(pa.array(keep)).cast(self.schema).combine_chunks()
            yield from rows.to_batches()

    def _by_position(self, delete: DataFile, path: str) -> npt.NDArray[np.int64]:
        known = self._positions.get(delete.file_path)
        if known is None:
            known = self._positions[delete.file_path] = _positions(self.io, delete)
        parts = known.get(path, [])
        return np.concatenate([np.empty(0, np.int64), *(p.to_numpy() for p in parts)])

    def _by_value(
        self, planned: PlannedFile, constants: Mapping[str, pa.Scalar]
    ) -> list[npt.NDArray[np.int64]]:
        wanted = [self._value(delete) for delete in planned.by_value]
        if not wanted:
            return []
        names = sorted({name for columns, _ in wanted for name in columns})
        gone, first = [], 0
        for table in self._columns(planned.path, names, constants):
            for columns, values in wanted:
                among = rows_among(table.select(columns), values)
                gone.append(np.flatnonzero(among) + first)
            first += len(table)
        return gone

    def _value(self, delete: DataFile) -> tuple[list[str], pa.Table]:
        known = self._values.get(delete.file_path)
        if known is None:
            by_number = {self._number(field): field["name"] for field in self.fields}
            numbers = list(delete.equality_ids or ())
            if not numbers or any(number not in by_number for number in numbers):
                raise ValueError(
                    "rows of it are deleted by values of a column that it no longer "
                    f"has at its top level ({delete.file_path})"
                )
            names = [by_number[number] for number in numbers]
            parts = list(self._columns(delete.file_path, names, {}, whole=True))
            table = pa.concat_tables(parts) if parts else self._none(names)
            known = self._values[delete.file_path] = names, table
        return known

    @staticmethod
    def _number(field: Told) -> int:
        return int(field["metadata"]["delta.columnMapping.id"])

    def _none(self, names: Sequence[str]) -> pa.Table:
        return pa.schema([self.schema.field(name) for name in names]).empty_table()

    def _columns(
        self,
        path: str,
        names: Sequence[str],
        constants: Mapping[str, pa.Scalar],
        *,
        whole: bool = False,
    ) -> Iterator[pa.Table]:
        """Yield columns of a file as the table has them; whole: it has to hold all."""
        told = [field for field in self.fields if field["name"] in names]
        told.sort(key=lambda field: names.index(field["name"]))
        with self.io.new_input(path).open() as opened, pq.ParquetFile(opened) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                arrays = []
                for field in told:
                    kind = self.schema.field(field["name"]).type
                    column = stored_column(batch, field, _MODE, kind)
                    if column is None and whole:
                        raise ValueError(
                            f"its equality deletes {path} lack {field['name']!r}"
                        )
                    if column is None:
                        value = constants.get(field["name"], pa.scalar(None, kind))
                        column = pa.repeat(value, len(batch))
                    arrays.append(column)
                yield pa.table(arrays, names=list(names))


def deletes_of(io: FileIO, fields: Sequence[Told], schema: pa.Schema) -> Deletes:
    """Return what finds the deleted rows of a table's files."""
    return Deletes(io, fields, schema, {}, {})


def _positions(io: FileIO, delete: DataFile) -> dict[str, list[pa.Array]]:
    """Return the positions that a delete file has, by path of the data file."""
    kind = str(delete.file_format.value).upper()
    with io.new_input(delete.file_path).open() as file:
        if kind == "PARQUET":
            table = pq.ParquetFile(file).read(["file_path", "pos"])
            paths = table["file_path"].cast(pa.string())
            return {
                path: table.filter(pc.equal(paths, path))["pos"].chunks
                for path in paths.unique().to_pylist()
            }
        if kind == "PUFFIN":
            from pyiceberg.table.deletion_vector import (
                deletion_vectors_from_puffin_file,
            )
            from pyiceberg.table.puffin import PuffinFile

            vectors = deletion_vectors_from_puffin_file(PuffinFile(file.read()))
            return {v.referenced_data_file: v.to_vector().chunks for v in vectors}
    raise ValueError(f"its delete file {delete.file_path} is {kind}, which is not read")


def rows_among(rows: pa.Table, values: pa.Table) -> npt.NDArray[np.bool_]:
    """Return which rows stand in another table of the same columns; null equals null.

    >>> rows = pa.table({"a": [1, None, 2], "b": ["x", "y", "x"]})
    >>> rows_among(rows, rows.slice(1, 1)).tolist()
    [False, True, False]
    """
    among = np.ones(len(rows), bool)
    code = np.zeros(len(rows), np.int64)
    wanted = np.zeros(len(values), np.int64)
    for name in rows.column_names:
        known = values[name].unique()
        mine, theirs = (_codes(t[name], known) for t in (rows, values))
        among &= mine >= 0
        code, wanted = code * len(known) + mine, wanted * len(known) + theirs
        # Renumbered, so that they stay small however many columns there are.
        kinds, wanted = np.unique(wanted, return_inverse=True)
        spot = np.searchsorted(kinds, code).clip(max=max(0, len(kinds) - 1))
        among &= (kinds[spot] == code) if len(kinds) else False
        code = spot.astype(np.int64)
    return among


def _codes(column: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    """Return each value's number among the known ones; -1: it is none of them."""
    codes = pc.fill_null(pc.index_in(column, value_set=known), -1)
    return np.asarray(codes.to_numpy(), np.int64)
