"""Parquet shards, plain or as a data set that Hugging Face's `datasets` loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.formats.hf_features import hf_features
from winnow.formats.outputs import ShardSize, ShardWriter
from winnow.formats.pool_formats import PARQUET
from winnow.formats.reader import single
from winnow.reports.export.kept_rows import KeptRows
from winnow.reports.export.selected import schema_of, tables_of

_SHARD_BYTES = 512 * 2**20

#: How `datasets` stores an image.
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.parquet
---
Selected by Winnow.
"""


def write_parquet(rows: KeptRows, folder: Path, shard_rows: int) -> int:
    """Write part-NNNNN.parquet to a new folder; return the rows.

    Columns are those of the view `samples` without the place in the input; images are
    bytes. A row that was drawn several times stands as often.
    """
    return _write(tables_of(rows), schema_of(rows), folder, shard_rows)


def write_hf(rows: KeptRows, folder: Path, shard_rows: int) -> int:
    """Write a folder for `datasets.load_dataset`; return the rows.

    Images are an Image feature, which decodes itself; all else is as in Parquet.
    """
    schema, tables = hf_tables(rows)
    written = _write(tables, schema, folder / "data", shard_rows)
    (folder / "README.md").write_text(_CARD)
    return written


def hf_tables(rows: KeptRows) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Return the columns as `datasets` knows them, and the rows batch by batch.

    Features that the input names (`ClassLabel`, further `Image`s, …) stay with their
    columns.
    """
    image = rows.columns.image
    schema, tables = schema_of(rows), tables_of(rows)
    features = _features(rows, set(schema.names))
    if image is not None:
        name = rows.name(image)
        column = schema.get_field_index(name)
        schema = schema.set(column, pa.field(name, _IMAGE))
        if features.get(name, {}).get("_type") != "Image":
            features[name] = {"_type": "Image"}
        tables = (_with_feature(table, column) for table in tables)
    if features:
        # Features that the file does not name follow from their types.
        named = {"info": {"features": features}}
        schema = schema.with_metadata({"huggingface": json.dumps(named)})
    return schema, tables


def _features(rows: KeptRows, written: set[str]) -> dict[str, Any]:
    """Return the input's features by the names that their columns are written under."""
    features = hf_features(rows.pool.schema)
    named = {rows.name(column): feature for column, feature in features.items()}
    if rows.columns.text is not None:
        # A caption is a plain string here, whatever it was made from.
        named.pop(rows.name(rows.columns.text), None)
    return {name: feature for name, feature in named.items() if name in written}


def _with_feature(table: pa.Table, column: int) -> pa.Table:
    images = single(table.column(column))
    paths = pa.nulls(len(images), pa.string())
    pairs = pa.StructArray.from_arrays(
        [images, paths], fields=list(_IMAGE), mask=images.is_null()
    )
    return table.set_column(column, table.schema.field(column).name, pairs)


def _write(
    tables: Iterator[pa.Table], schema: pa.Schema, folder: Path, shard_rows: int
) -> int:
    size = ShardSize(shard_rows, _SHARD_BYTES)
    writer = ShardWriter(folder, PARQUET, ".parquet", schema, size)
    for table in tables:
        writer.add(table.cast(schema))
    writer.close()
    return sum(rows for _, rows in writer.written)
