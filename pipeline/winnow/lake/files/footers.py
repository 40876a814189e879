"""Parquet footers: leaf columns, sizes, and statistics that are sound for any writer.

Statistics in a footer are bounds. Which of them are values that occur depends on who
wrote them: pyarrow leaves strings above 4,096 bytes out, polars cuts them to 64 bytes
and DuckDB to 256, and both raise the last byte of a cut maximum that can be raised, so
that a maximum of any length may be a made-up one. Whether a bound is exact stands in
newer footers, but pyarrow does not show it; so it is known from the writer alone.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache, partial, reduce
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.parquet_footer import (
    TYPES,
    chunks_of_sound,
    footer_bytes,
    group_rows,
    sound_chunks,
)
from winnow.lake.files.files import Files
from winnow.lake.files.geometry import with_geometry
from winnow.lake.files.leaves import leaf_columns, physical_leaves
from winnow.lake.kernels.families import value_type
from winnow.lake.kernels.sound_footer import certainly_sound
from winnow.lake.kernels.tables import Column, ColumnStatistics, Family, Value

#: Decimals of 256 bits have 76 digits.
_EXACT = Context(prec=100)
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_PARQUET_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class _BoundsOfWriter:
    """How far a writer's bounds are values of the column."""

    #: Its numbers, dates and the like are never rounded.
    fixed_width: bool = False
    #: A minimum of at most so many bytes was not cut.
    low_bytes: int = -1
    high_bytes: int = -1
    float16: bool = False
    #: Orders bytes (texts, decimals as bytes), unsigned numbers and NaN as Parquet now
    #: says; old writers compared bytes and unsigned numbers as signed ones.
    ordered: bool = False


_NEVER_CUT = 1 << 62
# A cut falls between two characters, so it may leave up to three bytes less.
_WRITERS = (
    (
        "parquet-cpp-arrow",
        _BoundsOfWriter(True, _NEVER_CUT, _NEVER_CUT, True, ordered=True),
    ),
    ("polars", _BoundsOfWriter(True, low_bytes=60, float16=True, ordered=True)),
    ("duckdb", _BoundsOfWriter(True, low_bytes=252, ordered=True)),
    ("parquet-rs", _BoundsOfWriter(True, ordered=True)),
    ("parquet-cpp", _BoundsOfWriter(True)),
)
_UNKNOWN_WRITER = _BoundsOfWriter()
_JAVA = re.compile(r"parquet-mr (?:compatible )?version (\d+)\.(\d+)")
#: The first version in Java that orders bytes and unsigned numbers rightly.
_JAVA_ORDERS = (1, 10)


#: From so many footers on, to load the compiled check takes less time than it saves.
_FEW = 100
_footers_read = count()
#: The number of each physical type in Parquet, and the bytes of its bounds.
_PHYSICAL = {name: (number, size) for number, (name, size) in enumerate(TYPES)}


@dataclass(frozen=True, slots=True)
class Footer:
    """What one Parquet file says of itself."""

    columns: tuple[Column, ...]
    #: Rows of each row group.
    row_groups: tuple[int, ...]
    #: Compressed bytes of each leaf column.
    column_bytes: dict[str, int]
    statistics: dict[str, ColumnStatistics]
    writer: str | None
    #: Bytes of the footer itself.
    bytes: int


def read_footer(files: Files, path: str) -> Footer:
    """Return what the footer of a Parquet file says.

    Raises OSError, ValueError or an Arrow error if it cannot be read.
    """
    with files.parquet_source(path) as (source, file):
        chunks = _chunks(footer_bytes(source), file.metadata)
        return _footer(file.metadata, chunks, file.schema_arrow)


def _chunks(
    footer: bytes, metadata: pq.FileMetaData
) -> list[list[pq.ColumnChunkMetaData]]:
    """Return what pyarrow says of each chunk; see `sound_chunks`."""
    if next(_footers_read) < _FEW:
        return sound_chunks(footer, metadata)
    columns = range(metadata.num_columns)
    expected = [_expected(metadata.schema.column(number)) for number in columns]
    shape = np.array(expected, np.int64).reshape(-1, 4)
    if not certainly_sound(footer, shape, metadata.num_row_groups):
        return sound_chunks(footer, metadata)
    return chunks_of_sound(metadata)


def _expected(column: Any) -> tuple[int, int, int, int]:
    """Return what `certainly_sound` is to know of a column."""
    kind, size = _PHYSICAL[column.physical_type]
    bound = column.length if size is None else size
    levels = column.max_repetition_level + 1, column.max_definition_level + 1
    return kind, bound, *levels


def vouches_for_text(writer: str | None) -> bool:
    """Whether what this software writes as text certainly is UTF-8.

    Polars, DuckDB and the libraries in Rust and Java check it; pyarrow writes whatever
    bytes an array holds, as nanoparquet does.
    """
    name = (writer or "").lower()
    return name.startswith(("polars", "duckdb", "parquet-mr", "parquet-rs"))


def merged(
    statistics: Iterable[Mapping[str, ColumnStatistics]],
) -> dict[str, ColumnStatistics]:
    """Return the statistics of all parts together; each has the same columns."""
    parts = list(statistics)
    names = parts[0] if parts else {}
    return {
        name: reduce(ColumnStatistics.merged, (part[name] for part in parts))
        for name in names
    }


def constant_statistics(value: pa.Scalar, rows: int) -> ColumnStatistics:
    """Return the statistics of a column that holds one value in every row."""
    if not value.is_valid or not rows:
        return ColumnStatistics(rows, nulls=rows)
    bound = _constant(value)
    if bound is None:
        return ColumnStatistics(rows, nulls=0)
    return ColumnStatistics(rows, 0, bound, bound, bound, bound, has_value=True)


def _constant(value: pa.Scalar) -> Value | None:
    kind = value.type
    if pa.types.is_date32(kind):
        return int(value.cast(pa.int32()).as_py()) * _DAY
    if pa.types.is_timestamp(kind):
        return int(value.cast(pa.int64()).as_py()) * _NANOSECONDS[kind.unit]
    plain = value.as_py()
    if isinstance(plain, str):
        return plain.encode()
    if isinstance(plain, float) and math.isnan(plain):
        return None
    return plain if isinstance(plain, bool | int | float | Decimal | bytes) else None


def _footer(
    metadata: pq.FileMetaData,
    groups: Sequence[Sequence[pq.ColumnChunkMetaData]],
    schema: pa.Schema,
) -> Footer:
    columns = leaf_columns(schema)
    places = _places(columns)
    if sum(width for _, width in places) != metadata.num_columns:
        raise ValueError("its Arrow schema does not fit its columns")
    columns = with_geometry(columns, [number for number, _ in places], metadata)
    writer, schema_columns = _writer(metadata.created_by), metadata.schema
    rows = group_rows(metadata)
    column_bytes, statistics = {}, {}
    for column, (first, width) in zip(columns, places, strict=True):
        chunks = [chunk for group in groups for chunk in group[first : first + width]]
        sizes = [chunk.total_compressed_size for chunk in chunks]
        column_bytes[column.name] = sum(sizes)
        if width > 1 or column.family is Family.NESTED:
            statistics[column.name] = ColumnStatistics(sum(rows))
            continue
        if column.family is Family.NULL:
            statistics[column.name] = ColumnStatistics(sum(rows), nulls=sum(rows))
            continue
        leaf = schema_columns.column(first)
        stated = [chunk.statistics for chunk in chunks]
        statistics[column.name] = _stated(column, leaf, writer, stated, rows)
    return Footer(
        columns,
        tuple(rows),
        column_bytes,
        statistics,
        metadata.created_by or None,
        metadata.serialized_size,
    )


def _stated(
    column: Column,
    leaf: Any,
    writer: _BoundsOfWriter,
    stated: Sequence[Any],
    rows: Sequence[int],
) -> ColumnStatistics:
    """Return what the row groups, of so many rows, state about a column."""
    if stated and all(one is None for one in stated):  # some writers state nothing
        return ColumnStatistics(sum(rows), 0 if _required(leaf) else None)
    if any(one is not None and one.has_min_max for one in stated):
        reading = _reading(column, leaf, writer)
    else:
        reading = _Reading(_unknown, writer, _required(leaf))
    each = [reading.statistics(*one) for one in zip(stated, rows, strict=True)]
    return reduce(ColumnStatistics.merged, each) if each else ColumnStatistics(0, 0)


def _places(columns: tuple[Column, ...]) -> list[tuple[int, int]]:
    """Return where each leaf column begins in the file, and how many it spans."""
    places, first = [], 0
    for column in columns:
        width = physical_leaves(column.type)
        places.append((first, width))
        first += width
    return places


@lru_cache(maxsize=1024)
def _writer(created_by: str | None) -> _BoundsOfWriter:
    name = (created_by or "").lower()
    java = _JAVA.match(name)
    if java:
        version = int(java[1]), int(java[2])
        return _BoundsOfWriter(True, ordered=version >= _JAVA_ORDERS)
    known = (writer for prefix, writer in _WRITERS if name.startswith(prefix))
    return next(known, _UNKNOWN_WRITER)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How the bounds of one leaf column are to be understood."""

    value: Callable[[Any], Value | None]
    writer: _BoundsOfWriter
    #: The column's definition leaves no room for nulls.
    required: bool

    def statistics(self, stated: Any, rows: int) -> ColumnStatistics:
        """Return what a row group states about the column."""
        nulls = 0 if self.required else None
        if stated is None:
            return ColumnStatistics(rows, nulls)
        if stated.has_null_count:
            nulls = stated.null_count
        if nulls == rows or not stated.has_min_max:
            return ColumnStatistics(rows, nulls)
        low, high = self.value(stated.min_raw), self.value(stated.max_raw)
        # Writers exist whose maximum is NaN; bounds in the wrong order bound nothing.
        if low is None or high is None or low > high:  # type: ignore[operator]
            return ColumnStatistics(rows, nulls)
        return ColumnStatistics(
            rows,
            nulls,
            low,
            high,
            low if self._occurs(low, self.writer.low_bytes) else None,
            high if self._occurs(high, self.writer.high_bytes) else None,
            has_value=True,
        )

    def _occurs(self, bound: Value, longest: int) -> bool:
        if isinstance(bound, bytes):
            return len(bound) <= longest
        return self.writer.fixed_width


def _required(leaf: Any) -> bool:
    """Whether a column's definition leaves no room for nulls."""
    return bool(leaf.max_definition_level == 0)


def _reading(column: Column, leaf: Any, writer: _BoundsOfWriter) -> _Reading:
    kind, logical = value_type(column.type), leaf.logical_type.to_json()
    value = _value_of(kind, column.family, leaf.physical_type, logical, writer)
    return _Reading(value, writer, _required(leaf))


@lru_cache(maxsize=1024)
def _value_of(
    kind: pa.DataType,
    family: Family,
    physical: str,
    logical_type: str,
    writer: _BoundsOfWriter,
) -> Callable[[Any], Value | None]:
    """Return what turns a raw bound into a value of the column's family, or None."""
    logical: dict[str, Any] = json.loads(logical_type)
    disordered = not writer.ordered and _needs_order(kind, physical)
    odd = physical == "INT96" or logical.get("Type") in {"Interval", "Unknown"}
    if odd or disordered:
        return _unknown
    if family is Family.NUMBER:
        return _number(kind, physical, writer)
    if family is Family.DATE:
        return partial(operator.mul, _DAY)
    if family in {Family.NAIVE, Family.ZONED, Family.TIME}:
        # The footer's unit: Arrow's may be another (seconds are stored as ms).
        unit = _PARQUET_UNITS.get(str(logical.get("timeUnit")))
        return _unknown if unit is None else partial(operator.mul, _NANOSECONDS[unit])
    if family is Family.DURATION:
        return partial(operator.mul, _NANOSECONDS[kind.unit])
    return _as_stated


def _needs_order(kind: pa.DataType, physical: str) -> bool:
    """Whether writers have ordered such values wrongly."""
    return bool(
        physical in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
        or pa.types.is_unsigned_integer(kind)
        or pa.types.is_floating(kind)
    )


def _number(
    kind: pa.DataType, physical: str, writer: _BoundsOfWriter
) -> Callable[[Any], Value | None]:
    if pa.types.is_decimal(kind):
        return partial(_decimal, scale=kind.scale)
    if pa.types.is_float16(kind):
        return _float16 if writer.float16 else _unknown
    if pa.types.is_floating(kind):
        return _float
    if pa.types.is_unsigned_integer(kind):
        return partial(_unsigned, bits=64 if physical == "INT64" else 32)
    return _as_stated


def _unknown(_raw: Any) -> None:
    return None


def _as_stated(raw: Any) -> Value | None:
    return raw if isinstance(raw, bool | int | bytes) else None


def _float(raw: float) -> float | None:
    return None if math.isnan(raw) else float(raw)


def _float16(raw: bytes) -> float | None:
    return _float(float(np.frombuffer(raw, "<f2")[0]))


def _unsigned(raw: int, bits: int) -> int:
    return raw % (1 << bits)


def _decimal(raw: int | bytes, scale: int) -> Decimal:
    if isinstance(raw, bytes):
        raw = int.from_bytes(raw, "big", signed=True)
    return Decimal(raw).scaleb(-scale, _EXACT)
