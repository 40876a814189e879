"""Parquet shards, plain or as a data set that Hugging Face's `datasets` loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from winnow.formats.outputs import ShardSize, ShardWriter
from winnow.formats.reader import single
from winnow.reports.export.kept_rows import REPEATS, KeptRows

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
    return _write(_tables(rows), _schema(rows), folder, shard_rows)


def write_hf(rows: KeptRows, folder: Path, shard_rows: int) -> int:
    """Write a folder for `datasets.load_dataset`; return the rows.

    Images are an Image feature, which decodes itself; all else is as in Parquet.
    """
    image = rows.columns.image
    schema, tables = _schema(rows), _tables(rows)
    if image is not None:
        place = schema.get_field_index(rows.name(image))
        schema = schema.set(place, pa.field(rows.name(image), _IMAGE))
        # Features that the file does not name follow from their types.
        named = {"info": {"features": {rows.name(image): {"_type": "Image"}}}}
        schema = schema.with_metadata({"huggingface": json.dumps(named)})
        tables = (_with_feature(table, place) for table in tables)
    written = _write(tables, schema, folder / "data", shard_rows)
    (folder / "README.md").write_text(_CARD)
    return written


def _with_feature(table: pa.Table, place: int) -> pa.Table:
    images = single(table.column(place))
    paths = pa.nulls(len(images), pa.string())
    pairs = pa.StructArray.from_arrays(
        [images, paths], fields=list(_IMAGE), mask=images.is_null()
    )
    return table.set_column(place, table.schema.field(place).name, pairs)


def _schema(rows: KeptRows) -> pa.Schema:
    columns = rows.columns
    fields = [pa.field("uid", pa.string())]
    for field in rows.pool.schema:
        if field.name == columns.image:
            fields.append(pa.field(rows.name(field.name), pa.binary()))
        elif field.name == columns.text:
            fields.append(pa.field(rows.name(field.name), pa.string()))
        elif field.name in columns.others:
            fields.append(field.with_name(rows.name(field.name)))
    fields += [pa.field(name, kind) for name, kind in columns.scores.items()]
    return pa.schema(fields)


def _tables(rows: KeptRows) -> Iterator[pa.Table]:
    columns = rows.columns
    own = {columns.image: "image", columns.text: "text"}
    own |= {name: f"extra.{name}" for name in columns.others}
    for batch in rows.batches():
        arrays = {"uid": batch["uid"]}
        for name in rows.pool.schema.names:
            if name in own:
                arrays[rows.name(name)] = batch[own[name]]
        arrays |= {name: batch[name] for name in columns.scores}
        table = pa.table(arrays)
        repeats = batch[REPEATS].to_numpy()
        if (repeats != 1).any():
            table = table.take(np.repeat(np.arange(len(table)), repeats))
        yield table


def _write(
    tables: Iterator[pa.Table], schema: pa.Schema, folder: Path, shard_rows: int
) -> int:
    writer = ShardWriter(
        folder, "part.parquet", schema, ShardSize(shard_rows, _SHARD_BYTES)
    )
    for table in tables:
        writer.add(table.cast(schema))
    writer.close()
    return sum(rows for _, rows in writer.written)
