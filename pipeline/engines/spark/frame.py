"""A table of Spark's with its exact Arrow types; parts that are not yet read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engines.parts import plain_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


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
        """Bytes of all groups, uncompressed."""
        return sum(group[3] for group in self.groups)


@dataclass(frozen=True)
class SparkFrame:
    """Rows of `schema`: a DataFrame of what crosses Spark, or parts to be read.

    `columns` names those of the parts that are wanted, `{new name: old name}`.
    """

    schema: pa.Schema
    data: DataFrame | None = None
    parts: Parts | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def selected(self, columns: Mapping[str, str]) -> SparkFrame | None:
        """Return the frame over parts with other columns; None if it is a DataFrame."""
        if self.parts is None:
            return None
        schema = pa.schema([(n, self.schema.field(o).type) for n, o in columns.items()])
        chosen = {new: self.columns[old] for new, old in columns.items()}
        return SparkFrame(schema, parts=self.parts, columns=chosen)


def read_footers(path: str) -> SparkFrame:
    """Return a frame over a Parquet file or a folder of parts, read later."""
    place = Path(path)
    files = sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
    if not files:
        raise FileNotFoundError(f"{path}: there are no Parquet files")
    groups: list[tuple[str, int, int, int]] = []
    schema: pa.Schema | None = None
    for file in files:
        with pq.ParquetFile(file) as opened:
            schema = schema or plain_schema(opened.schema_arrow)
            for number in range(opened.metadata.num_row_groups):
                group = opened.metadata.row_group(number)
                size = (str(file), number, group.num_rows, group.total_byte_size)
                groups.append(size)
    assert schema is not None
    names = {name: name for name in schema.names}
    return SparkFrame(schema, parts=Parts(tuple(groups)), columns=names)


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
    return SparkFrame(first.schema, parts=Parts(tuple(groups)), columns=first.columns)
