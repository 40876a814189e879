"""Parquet parts as every engine writes them, and the plain types that they hold.

May import: core.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.parquet_columns import writer_settings

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
