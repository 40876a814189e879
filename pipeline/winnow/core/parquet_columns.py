"""What a Parquet file calls its columns, and which of them are vectors."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def writer_settings(schema: pa.Schema) -> dict[str, Any]:
    """Return how to store a schema's columns, as options of pyarrow's ParquetWriter.

    Lists of floats, all of one length, hold vectors. Their numbers hardly compress, and
    a dictionary or bounds of them tell nothing and take longer than to write them: they
    are stored plain. All else is compressed, with a dictionary and bounds.

    >>> writer_settings(pa.schema({"uid": pa.string(), "v": pa.list_(pa.float16(), 2)}))
    {'compression': {'uid': 'zstd', 'v.list.element': 'none'}, \
'use_dictionary': ['uid'], 'write_statistics': ['uid']}
    """
    vectors = {
        f"{field.name}.list.element"
        for field in schema
        if pa.types.is_fixed_size_list(field.type)
        and pa.types.is_floating(field.type.value_type)
    }
    paths = _paths(schema)
    others = [path for path in paths if path not in vectors]
    return {
        "compression": {path: "none" if path in vectors else "zstd" for path in paths},
        "use_dictionary": others or False,
        "write_statistics": others or False,
    }


def _paths(schema: pa.Schema) -> list[str]:
    """Return the path of each leaf, as Parquet's own writer names it."""
    stored = io.BytesIO()
    pq.ParquetWriter(stored, schema).close()
    leaves = pq.read_metadata(stored).schema
    return [leaves.column(i).path for i in range(len(leaves))]
