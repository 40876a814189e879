"""Parquet parts as every engine writes them, and the plain types that they hold.

May import: core.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.parquet_columns import writer_settings

# A row group is a batch again later.
_GROUP_ROWS = 16_384
_PLAIN = {
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type without large offsets, views or dictionaries."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, plain_type(f.type)) for f in kind])
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return _PLAIN.get(kind, kind)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns in plain types, all of them nullable, without metadata."""
    return pa.schema([(field.name, plain_type(field.type)) for field in schema])


def part_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a part for writing."""
    # Vectors and uids do not repeat: a dictionary would only be built to be dropped.
    repeating = [
        field.name
        for field in schema
        if pa.types.is_string(field.type) and field.name not in ("uid", "kept_twin")
    ]
    settings = {**writer_settings(schema), "use_dictionary": repeating or False}
    return pq.ParquetWriter(file, schema, **settings)


def holds_vectors(lazy: pl.LazyFrame) -> bool:
    """Whether a column of a frame holds vectors of floats."""
    kinds = lazy.collect_schema().values()
    return any(isinstance(k, pl.Array) and k.inner.is_float() for k in kinds)


def write_vector_parts(
    lazy: pl.LazyFrame, schema: pa.Schema, folder: Path, rows: int, most: int
) -> int:
    """Write a frame as parts of at most `most` rows, in its order; return its rows.

    By polars: pyarrow takes seven times as long for the numbers of lists (polars 2.1,
    pyarrow 26). rows: of the frame, or more. Strings are not compressed: next to the
    vectors they are short.
    """
    target: Path | pl.PartitionBy = folder / _part_name(0)
    if rows > most:
        target = pl.PartitionBy(
            folder,
            max_rows_per_file=most,
            approximate_bytes_per_file=None,
            file_path_provider=lambda part: _part_name(part.index_in_partition),
        )
    lazy.sink_parquet(
        target,
        compression="uncompressed",
        statistics=False,
        row_group_size=_GROUP_ROWS,
        # Arrow's readers are to see the types that `part_writer` tells them.
        metadata={"ARROW:schema": _stored_schema(schema)},
    )
    return sum(pq.read_metadata(file).num_rows for file in folder.iterdir())


def _stored_schema(schema: pa.Schema) -> str:
    stored = io.BytesIO()
    pq.ParquetWriter(stored, schema).close()
    noted: bytes = pq.read_metadata(stored).metadata[b"ARROW:schema"]
    return noted.decode()


def _part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"
