"""Columns of a Parquet file: vectors are stored plain, all else compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from winnow.core.parquet_columns import writer_settings

SCHEMA = pa.schema(
    {
        "v": pa.list_(pa.float16(), 4),
        "a.b": pa.list_(pa.float32(), 2),
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "tags": pa.list_(pa.string()),
        "pair": pa.list_(pa.int64(), 2),
        "uid": pa.string(),
    }
)


def test_only_vectors_are_stored_plain(tmp_path: Path) -> None:
    rows = 500
    table = pa.table(
        [
            pa.FixedSizeListArray.from_arrays(np.ones(rows * 4, np.float16), 4),
            pa.FixedSizeListArray.from_arrays(np.ones(rows * 2, np.float32), 2),
            pa.array([{"bytes": b"x" * 99, "path": "p"}] * rows, SCHEMA.field(2).type),
            pa.array([["one", "two"]] * rows),
            pa.array([[1, 2]] * rows, pa.list_(pa.int64(), 2)),
            pa.array([f"{n}" for n in range(rows)]),
        ],
        schema=SCHEMA,
    )
    file = tmp_path / "part.parquet"
    with pq.ParquetWriter(file, SCHEMA, **writer_settings(SCHEMA)) as writer:
        writer.write_table(table)
    assert pq.read_table(file).equals(table)
    group = pq.read_metadata(file).row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    plain = {
        chunk.path_in_schema
        for chunk in chunks
        if chunk.compression == "UNCOMPRESSED" and not chunk.is_stats_set
    }
    assert plain == {"v.list.element", "a.b.list.element"}
    others = [chunk for chunk in chunks if chunk.path_in_schema not in plain]
    assert {chunk.compression for chunk in others} == {"ZSTD"}
    assert all(chunk.is_stats_set for chunk in others)


def test_a_table_of_vectors_alone_and_one_without_columns(tmp_path: Path) -> None:
    for schema in (pa.schema({"v": pa.list_(pa.float32(), 2)}), pa.schema([])):
        file = tmp_path / "part.parquet"
        pq.ParquetWriter(file, schema, **writer_settings(schema)).close()
        assert pq.read_schema(file) == schema
