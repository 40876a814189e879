"""Delta tables with deleted rows in deletion vectors, or whose columns are mapped.

The log says which files count, which of their rows are gone and how a column is called
in them; rows come file by file, in the order of their paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.lake.files.formats.opened import BATCH_ROWS, OpenedRows, RowFormat
from winnow.table_logs.delta import kept_rows, mapping_mode, told_fields
from winnow.table_logs.stored_columns import stored_column, stored_name


@contextmanager
def _opened(path: str, _: str) -> Iterator[OpenedRows]:
    import deltalake

    table = deltalake.DeltaTable(path)
    schema = pa.schema(table.schema())
    mode = mapping_mode(table)
    columns = [(field, stored_name(field, mode)) for field in told_fields(table)]
    kept = kept_rows(table)
    actions = pa.table(table.get_add_actions(flatten=False)).to_pylist()
    files = sorted((unquote(action["path"]), action) for action in actions)

    def batches() -> Iterator[pa.RecordBatch]:
        for name, action in files:
            here = os.path.join(path, name)
            with pq.ParquetFile(here) as file:
                constants = action.get("partition") or {}
                rows = _rows(file, schema, columns, mode, constants)
                yield from _left(rows, kept.get(os.path.realpath(here)))

    yield OpenedRows(schema, batches(), None)


def _rows(
    file: pq.ParquetFile,
    schema: pa.Schema,
    columns: Sequence[tuple[Mapping[str, Any], str]],
    mode: str,
    constants: Mapping[str, Any],
) -> Iterator[pa.RecordBatch]:
    for batch in file.iter_batches(BATCH_ROWS):
        arrays = []
        for wanted, (field, name) in zip(schema, columns, strict=True):
            held = stored_column(batch, field, mode, wanted.type)
            if held is None:
                value = constants.get(wanted.name, constants.get(name))
                held = pa.repeat(pa.scalar(value).cast(wanted.type), len(batch))
            arrays.append(held)
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
