"""CSV and TSV shards: a row is a record, handed on byte for byte under its header.

The first line names the columns. A column of which every value in a shard is a whole
number, or a number, holds numbers; all else is text as it stands. A record that has
another number of fields, or a quote that does not close, costs its row, not the shard.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError
from winnow.formats.csv_records import (
    CsvDialect,
    CsvIndex,
    fields_of,
    index_of,
    opened,
)
from winnow.formats.file_access import state_of_file
from winnow.formats.jsonl_fields import LINE
from winnow.formats.shard_protocol import ShardFooter, ShardFormat, Unreadable

_HEADER = b"winnow.csv.header"
_BATCH_ROWS = 1024
_BATCH_BYTES = 64 * 2**20
_WHOLE = r"^-?(0|[1-9][0-9]{0,17})$"
_NUMBER = (
    r"^-?(0|[1-9][0-9]*|[0-9]*\.[0-9]+|[0-9]+\.)([eE][-+]?[0-9]+)?$"
    r"|^(nan|NaN|-?inf)$"
)


class CsvFormat(ShardFormat):
    """Shards of values between commas; between `;`, tabs or `|` where they stand."""

    name = "csv"
    title = "CSV"
    endings = (".csv", ".csv.gz")
    carriers = (LINE,)
    dialect = CsvDialect()

    def configured(self, options: Mapping[str, Any]) -> CsvFormat:
        """Return the format as `input.csv` describes it."""
        given = {name: value for name, value in options.items() if value is not None}
        if "columns" in given:
            given["columns"] = tuple(given["columns"])
        reader = copy(self)
        reader.dialect = replace(self.dialect, **given)
        return reader

    def pinned(self) -> dict[str, Any]:
        """Return how the files are written, if the recipe says it."""
        if self.dialect == type(self).dialect:
            return {}
        return {"csv": asdict(self.dialect)}

    def restored(self, pinned: Mapping[str, Any]) -> CsvFormat:
        """Return the format as it was when it was `pinned`."""
        return self.configured(pinned.get("csv", {}))

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's rows and columns; it is read once, whole.

        Raises InputError if it is cut short, is UTF-16, or its first line names no
        columns.
        """
        index = self._index(path)
        schema = _schema_of(path, state_of_file(path), self.dialect)
        pinned = self.pinned()
        return ShardFooter(len(index.starts), schema, str(pinned) if pinned else "")

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return the columns of both; numbers of one are text if the other's are.

        Raises InputError if the first lines differ: rows are handed on as they stand.
        """
        if schema.metadata != other.metadata:
            raise InputError(
                f"{path}: its first line is not that of {first}; all shards need the "
                "same columns in the same order. Rewrite it or leave it out of "
                "input.path"
            )
        fields = [_wider(*pair) for pair in zip(schema, other, strict=True)]
        return pa.schema(fields, schema.metadata)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard.

        A broken record comes out as Unreadable, with its line; its whole line is still
        to be had.
        """
        index = self._index(path)
        if schema is None:
            schema = self.footer(path).schema
        fields, encoding = [schema.field(n) for n in columns], self.dialect.encoding
        position = 0
        try:
            with opened(path) as file:
                for numbers in _parts(index, rows):
                    for part in _parsed(file, index, numbers, fields, encoding):
                        yield position, part
                        position += (
                            part.rows if isinstance(part, Unreadable) else len(part)
                        )
        except (OSError, EOFError) as error:
            types = {field.name: field.type for field in fields}
            reason = f"unreadable_file: {str(error)[:120]}"
            yield position, Unreadable(len(rows) - position, reason, types)

    def sink(self, file: Path, schema: pa.Schema) -> CsvSink:
        """Open a shard for writing, compressed as its name says; the header first."""
        return CsvSink(file, (schema.metadata or {})[_HEADER])

    def suffix(self, path: str) -> str:
        """Return the ending of a shard's name, which says its compression."""
        name = posixpath.basename(path).lower()
        ends = (end for end in reversed(self.endings) if name.endswith(end))
        return next(ends, self.endings[0])

    def _index(self, path: str) -> CsvIndex:
        return index_of(path, state_of_file(path), self.dialect)


class TsvFormat(CsvFormat):
    """Shards of values between tabs."""

    name = "tsv"
    title = "TSV"
    endings = (".tsv", ".tsv.gz")
    dialect = CsvDialect(delimiter="\t")


class CsvSink:
    """A shard of records that is being written."""

    def __init__(self, file: Path, header: bytes) -> None:
        self._file = pa.OSFile(str(file), "wb")
        packed = file.name.endswith(".gz")
        self._out = (
            pa.CompressedOutputStream(self._file, "gzip") if packed else self._file
        )
        if header:
            self._out.write(header + b"\n")

    def write(self, table: pa.Table) -> None:
        """Append records."""
        for record in table[LINE].to_pylist():
            self._out.write(record + b"\n")

    def close(self) -> None:
        """Finish the file."""
        self._out.close()
        self._file.close()


@lru_cache(maxsize=32)
def _schema_of(path: str, state: str, dialect: CsvDialect) -> pa.Schema:
    """Return LINE and the columns of a shard, typed by all their values."""
    index = index_of(path, state, dialect)
    kinds: list[pa.DataType | None] = [None] * len(index.names)
    text = [pa.field(name, pa.string()) for name in index.names]
    with opened(path) as file:
        for numbers in _parts(index, np.arange(len(index.starts))):
            open_ = [f for f, k in zip(text, kinds, strict=True) if k != pa.string()]
            if not open_:
                break
            for part in _parsed(file, index, numbers, text, dialect.encoding):
                if isinstance(part, pa.Table):
                    kinds = [
                        _kind(kind, part.column(n)) for n, kind in enumerate(kinds)
                    ]
    # Of a column without a value nothing is known.
    pairs = zip(index.names, (kind or pa.string() for kind in kinds), strict=True)
    fields = [pa.field(*pair) for pair in pairs]
    about = {_HEADER: index.header}
    return pa.schema([pa.field(LINE, pa.binary()), *fields], about)


def _kind(known: pa.DataType | None, values: pa.ChunkedArray) -> pa.DataType | None:
    """Return the narrowest of int64, float64 and string that also takes the values.

    known: what the values so far are; None: there were none.
    """
    if known == pa.string():
        return known
    values = values.cast(pa.binary()).combine_chunks()
    values = values.filter(pc.not_equal(pc.binary_length(values), 0))
    if not len(values):
        return known
    for kind, pattern in ((pa.int64(), _WHOLE), (pa.float64(), _NUMBER)):
        if kind == pa.int64() and known == pa.float64():
            continue
        if pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py():
            return kind
    return pa.string()


def _wider(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.type == other.type:
        return one
    text = pa.types.is_string(one.type) or pa.types.is_string(other.type)
    return one.with_type(pa.string() if text else pa.float64())


def _parts(
    index: CsvIndex, rows: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row numbers in lists that are bounded in rows and in bytes."""
    sizes = np.cumsum(index.ends[rows] - index.starts[rows])
    first, before = 0, 0
    while first < len(rows):
        full = int(np.searchsorted(sizes, before + _BATCH_BYTES, "right"))
        end = min(len(rows), first + _BATCH_ROWS, max(full, first + 1))
        yield rows[first:end]
        first, before = end, int(sizes[end - 1])


def _parsed(
    file: Any,
    index: CsvIndex,
    numbers: npt.NDArray[np.int64],
    fields: list[pa.Field],
    encoding: str,
) -> Iterator[pa.Table | Unreadable]:
    """Yield tables of records that are fine, and each other record by itself."""
    records: list[bytes] = []
    values: list[list[str]] = []
    only_whole = all(field.name == LINE for field in fields)
    for number in numbers.tolist():
        record = _record(file, int(index.starts[number]), int(index.ends[number]))
        if only_whole:
            records.append(record)
            continue
        try:
            parts = _fields(record, index, number)
        except ValueError as error:
            if records:
                yield _table(records, values, index, fields, encoding)
            records, values = [], []
            types = {field.name: field.type for field in fields}
            yield Unreadable(1, str(error)[:200], types)
            continue
        records.append(record)
        values.append(parts)
    if records:
        yield _table(records, values, index, fields, encoding)


def _record(file: Any, start: int, end: int) -> bytes:
    if file.tell() != start:
        file.seek(start)
    record = bytes(file.read(end - start))
    if len(record) < end - start:
        raise OSError(f"the file ends before byte {end:,}")
    return record


def _fields(record: bytes, index: CsvIndex, number: int) -> list[str]:
    line = int(index.lines[number])
    try:
        parts = fields_of(record, index.delimiter)
    except ValueError as error:
        raise ValueError(f"broken_record: line {line:,}: {error}") from error
    if len(parts) != len(index.names):
        raise ValueError(
            f"ragged_row: line {line:,} has {len(parts)} fields, the first line names "
            f"{len(index.names)}"
        )
    return parts


def _table(
    records: list[bytes],
    values: list[list[str]],
    index: CsvIndex,
    fields: list[pa.Field],
    encoding: str,
) -> pa.Table:
    columns = {}
    for field in fields:
        if field.name == LINE:
            columns[LINE] = pa.array(records, pa.binary())
            continue
        number = index.names.index(field.name)
        raw = [_utf8(row[number].encode("latin-1"), encoding) for row in values]
        columns[field.name] = _column(raw, field.type)
    return pa.table(columns)


def _utf8(value: bytes, encoding: str) -> bytes:
    if encoding == "utf-8":
        return value
    try:
        return value.decode(encoding).encode()
    except UnicodeDecodeError:
        return value


def _column(raw: list[bytes], kind: pa.DataType) -> pa.Array:
    # Bytes that are not UTF-8 are found by whoever reads text, as in Parquet.
    if pa.types.is_string(kind):
        return pa.array(raw, pa.binary()).view(pa.string())
    given = [value.decode() if value else None for value in raw]
    return pa.array(given, pa.string()).cast(kind)
