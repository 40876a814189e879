"""Delta tables with deleted rows in deletion vectors, or whose columns are mapped.

The log says which files count, which of their rows are gone and how a column is called
in them; rows come file by file, in the order of their paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.lake.files.formats.opened import BATCH_ROWS, OpenedRows, RowFormat

_MODE = "delta.columnMapping.mode"
_STORED_NAME = "delta.columnMapping.physicalName"


@contextmanager
def _opened(path: str, _: str) -> Iterator[OpenedRows]:
    import deltalake

    table = deltalake.DeltaTable(path)
    schema = pa.schema(table.schema())
    stored = {field.name: field.name for field in schema}
    if table.metadata().configuration.get(_MODE) == "name":
        for field in table.schema().fields:
            said = (field.metadata or {}).get(_STORED_NAME)
            if said is None or pa.types.is_nested(schema.field(field.name).type):
                raise ValueError(f"names of its column {field.name!r} are mapped")
            stored[field.name] = str(said)
    kept = _kept_rows(pa.table(table.deletion_vectors()))
    actions = pa.table(table.get_add_actions(flatten=False)).to_pylist()
    files = sorted((unquote(action["path"]), action) for action in actions)

    def batches() -> Iterator[pa.RecordBatch]:
        for name, action in files:
            here = os.path.join(path, name)
            with pq.ParquetFile(here) as file:
                constants = action.get("partition") or {}
                rows = _rows(file, schema, stored, constants)
                yield from _left(rows, kept.get(os.path.realpath(here)))

    yield OpenedRows(schema, batches(), None)


def _kept_rows(vectors: pa.Table) -> dict[str, pa.Array]:
    """Return which rows of a file are left, by its path; those after the last are."""
    kept = {}
    for row in vectors.to_pylist():
        path = unquote(urlparse(row["filepath"]).path)
        kept[os.path.realpath(path)] = pa.array(row["selection_vector"], pa.bool_())
    return kept


def _rows(
    file: pq.ParquetFile,
    schema: pa.Schema,
    stored: Mapping[str, str],
    constants: Mapping[str, Any],
) -> Iterator[pa.RecordBatch]:
    for batch in file.iter_batches(BATCH_ROWS):
        held = dict(zip(batch.schema.names, batch.columns, strict=True))
        arrays = []
        for field in schema:
            name = stored[field.name]
            if name in held:
                arrays.append(held[name].cast(field.type))
                continue
            value = constants.get(field.name, constants.get(name))
            arrays.append(pa.repeat(pa.scalar(value).cast(field.type), len(batch)))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _left(
    batches: Iterator[pa.RecordBatch], kept: pa.Array | None
) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        if kept is None or first >= len(kept):
            yield batch
        else:
            mask = kept.slice(first, len(batch))
            rest = pa.repeat(True, len(batch) - len(mask))
            yield batch.filter(pa.concat_arrays([mask, rest]))
        first += len(batch)


DELTA = RowFormat(_opened)
