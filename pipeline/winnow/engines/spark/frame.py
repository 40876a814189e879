"""A table of Spark's with its exact Arrow types; parts that are not yet read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.parquet_footer import group_bytes, group_rows
from winnow.engines.parts import plain_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A row of Spark's takes as much, however well a file encodes it.
_ROW_BYTES = 32


@dataclass(frozen=True)
class Parts:
    """Row groups of Parquet files, `(path, number, rows, bytes)`, in order."""

    groups: tuple[tuple[str, int, int, int], ...]

    @property
    def rows(self) -> int:
        """Rows of all groups."""
        return sum(group[2] for group in self.groups)

    @property
    def bytes(self) -> int:
        """Bytes of all groups, uncompressed but encoded."""
        return sum(group[3] for group in self.groups)

    @property
    def held(self) -> int:
        """Bytes that the rows take in memory, where strings repeat not too often."""
        return max(self.bytes, _ROW_BYTES * self.rows)


@dataclass(frozen=True)
class SparkFrame:
    """Rows of `schema`: a DataFrame of what crosses Spark, or parts to be read.

    `columns` names those of the parts that are wanted, `{new name: old name}`.
    `bytes` is about what the rows take at most, None where that is not known. Rows
    that are `listed` may stand for any number of rows: shards, say.
    """

    schema: pa.Schema
    data: DataFrame | None = None
    parts: Parts | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    bytes: int | None = None
    listed: bool = False

    def selected(self, columns: Mapping[str, str]) -> SparkFrame | None:
        """Return the frame over parts with other columns; None if it is a DataFrame."""
        if self.parts is None:
            return None
        schema = pa.schema([(n, self.schema.field(o).type) for n, o in columns.items()])
        chosen = {new: self.columns[old] for new, old in columns.items()}
        return replace(self, schema=schema, columns=chosen)

    def read(self) -> pa.Table:
        """Return the rows of parts, in their order, read by this process."""
        assert self.parts is not None
        names = list(dict.fromkeys(self.columns.values()))
        tables = [self.schema.empty_table()]
        for path, groups in groupby(self.parts.groups, itemgetter(0)):
            with pq.ParquetFile(path) as file:
                numbers = [number for _, number, *_ in groups]
                table = file.read_row_groups(numbers, columns=names)
            arrays = [table[old] for old in self.columns.values()]
            named = pa.Table.from_arrays(arrays, names=list(self.columns))
            tables.append(named.cast(self.schema))
        return pa.concat_tables(tables)


def read_footers(path: str) -> SparkFrame:
    """Return a frame over a Parquet file or a folder of parts, read later."""
    folder = Path(path)
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder]
    if not files:
        raise FileNotFoundError(f"{path}: there are no Parquet files")
    groups: list[tuple[str, int, int, int]] = []
    schema: pa.Schema | None = None
    for file in files:
        with pq.ParquetFile(file) as opened:
            schema = schema or plain_schema(opened.schema_arrow)
            rows, sizes = group_rows(opened.metadata), group_bytes(opened.metadata)
            for number, (length, size) in enumerate(zip(rows, sizes, strict=True)):
                groups.append((str(file), number, length, size))
    assert schema is not None
    names = {name: name for name in schema.names}
    parts = Parts(tuple(groups))
    return SparkFrame(schema, None, parts, names, parts.held)


def united(frames: Sequence[SparkFrame]) -> SparkFrame | None:
    """Return one frame over the parts of all, or None if they are not alike."""
    first = frames[0]
    alike = all(f.parts is not None and f.columns == first.columns for f in frames)
    if not alike or any(f.schema.types != first.schema.types for f in frames):
        return None
    groups: list[Any] = []
    for frame in frames:
        assert frame.parts is not None
        groups += frame.parts.groups
    parts = Parts(tuple(groups))
    return SparkFrame(first.schema, None, parts, first.columns, parts.held)
