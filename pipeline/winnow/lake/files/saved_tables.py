"""The catalogue of an earlier scan, so that unchanged tables are not opened again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from winnow.lake.files.column_files import CONTAINERS
from winnow.lake.files.leaves import metadata_of
from winnow.lake.kernels.tables import Column, ColumnStatistics, Family, Part, Table

_PART = pa.struct(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.float64()),
        ("row_groups", pa.list_(pa.int64())),
        # An Arrow IPC stream of one row: partition values with their types.
        ("constants", pa.binary()),
        ("column_bytes", pa.string()),
        ("dialect", pa.string()),
        ("surveyed_bytes", pa.int64()),
    ]
)
_SAVED = pa.schema(
    [
        ("name", pa.string()),
        ("format", pa.string()),
        ("location", pa.string()),
        ("writer", pa.string()),
        ("fingerprint", pa.string()),
        ("reason", pa.string()),
        ("schema", pa.binary()),
        ("families", pa.list_(pa.string())),
        ("parts", pa.list_(_PART)),
        ("statistics", pa.string()),
    ]
)

Statistics = Mapping[str, ColumnStatistics]


def as_table(catalogue: Iterable[tuple[Table, Statistics]]) -> pa.Table:
    """Return tables and the statistics of their columns, one row a table."""
    rows = [_as_row(table, statistics) for table, statistics in catalogue]
    return pa.Table.from_pylist(rows, _SAVED)


class SavedTables(Mapping[str, tuple[Table, Statistics]]):
    """What `as_table` was given, by name; the last row of a name holds.

    A table is made of its row when it is asked for: of 100,000 a scan needs few.
    """

    def __init__(self, saved: Sequence[pa.Table] = ()) -> None:
        """Take tables that `as_table` made, oldest first."""
        # Not `empty_table`, for which pyarrow loads pandas where it is installed.
        nothing = pa.Table.from_batches([], _SAVED)
        self._rows = pa.concat_tables([nothing, *saved])
        self._number: dict[str, int] = {}
        self._fingerprints: list[str] = []
        self._sound: list[bool] = []
        self._made: dict[str, tuple[Table, Statistics]] = {}
        self._in_file: dict[str, list[str]] = {}
        if saved:
            self._look_at_rows()

    def _look_at_rows(self) -> None:
        self._number = {name: i for i, name in enumerate(_plain(self._rows["name"]))}
        self._fingerprints = _plain(self._rows["fingerprint"])
        self._sound = _plain(self._rows["reason"].is_null())
        held = pc.is_in(self._rows["format"], pa.array(sorted(CONTAINERS)))
        inner = self._rows.filter(held).select(["name", "location"])
        for row in inner.to_pylist():
            self._in_file.setdefault(row["location"], []).append(row["name"])

    def in_file(self, location: str) -> list[str]:
        """Return the names of the tables that a container holds, as far as known."""
        return sorted(set(self._in_file.get(location, ())))

    def holds(self, name: str, fingerprint: str) -> bool:
        """Whether a table is known, could be read, and has this fingerprint."""
        i = self._number.get(name)
        return i is not None and self._sound[i] and self._fingerprints[i] == fingerprint

    def make_all(self) -> None:
        """Make every table at once, which takes less time than one by one."""
        rows = self._rows.to_pylist()
        for name, i in self._number.items():
            if name not in self._made:
                self._made[name] = _from_row(rows[i])

    def __getitem__(self, name: str) -> tuple[Table, Statistics]:
        if name not in self._made:
            (row,) = self._rows.slice(self._number[name], 1).to_pylist()
            self._made[name] = _from_row(row)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._number)

    def __len__(self) -> int:
        return len(self._number)


def _plain(values: pa.ChunkedArray) -> list[Any]:
    """Return values none of which is null; by NumPy in a tenth of the time."""
    plain: list[Any] = values.to_numpy(zero_copy_only=False).tolist()
    return plain


def _as_row(table: Table, statistics: Statistics) -> dict[str, Any]:
    schema = pa.schema(
        [pa.field(c.name, c.type, metadata=dict(c.metadata)) for c in table.columns]
    )
    return {
        "name": table.name,
        "format": table.format,
        "location": table.location,
        "writer": table.writer,
        "fingerprint": table.fingerprint,
        "reason": table.reason,
        "schema": schema.serialize().to_pybytes(),
        "families": [str(column.family) for column in table.columns],
        "parts": [_part_as_row(part) for part in table.parts],
        "statistics": json.dumps(
            {name: column.to_json() for name, column in statistics.items()}
        ),
    }


def _part_as_row(part: Part) -> dict[str, Any]:
    return {
        "path": part.path,
        "bytes": part.bytes,
        "modified": part.modified,
        "row_groups": list(part.row_groups),
        "constants": _pack(part.constants) if part.constants else _NO_CONSTANTS,
        "column_bytes": json.dumps(part.column_bytes),
        "dialect": json.dumps(part.dialect),
        "surveyed_bytes": part.surveyed_bytes,
    }


def _from_row(row: Mapping[str, Any]) -> tuple[Table, dict[str, ColumnStatistics]]:
    schema = pa.ipc.read_schema(pa.py_buffer(row["schema"]))
    table = Table(
        name=row["name"],
        format=row["format"],
        location=row["location"],
        parts=tuple(_part_from_row(part) for part in row["parts"]),
        columns=tuple(
            Column(field.name, field.type, Family(family), metadata_of(field))
            for field, family in zip(schema, row["families"], strict=True)
        ),
        writer=row["writer"],
        fingerprint=row["fingerprint"],
        reason=row["reason"],
    )
    statistics = json.loads(row["statistics"])
    return table, {
        name: ColumnStatistics.from_json(value) for name, value in statistics.items()
    }


def _part_from_row(row: Mapping[str, Any]) -> Part:
    return Part(
        path=row["path"],
        bytes=row["bytes"],
        modified=row["modified"],
        row_groups=tuple(row["row_groups"]),
        constants=_unpack(row["constants"]),
        column_bytes=json.loads(row["column_bytes"]),
        dialect=tuple((name, value) for name, value in json.loads(row["dialect"])),
        surveyed_bytes=row["surveyed_bytes"],
    )


def _pack(constants: tuple[tuple[str, pa.Scalar], ...]) -> bytes:
    columns = [pa.array([value], value.type) for _, value in constants]
    batch = pa.record_batch(columns, names=[name for name, _ in constants])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _unpack(packed: bytes) -> tuple[tuple[str, pa.Scalar], ...]:
    table = pa.ipc.open_stream(packed).read_all()
    return tuple((name, table.column(name)[0]) for name in table.column_names)


_NO_CONSTANTS = _pack(())
