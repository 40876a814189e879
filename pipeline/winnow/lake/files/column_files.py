"""ORC and Arrow IPC (Feather) files, by Arrow's readers: their columns and rows.

Rebuild queries cannot read them: such a table may be had back from others, and no other
from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from winnow.lake.files.files import Files
from winnow.lake.files.leaves import flattened, leaf_columns
from winnow.lake.kernels.tables import Column, Part

#: What a part's dialect says of it, and the formats.
READER = "reader"
FORMATS = ("orc", "arrow")
_BATCH_ROWS = 1 << 16


def columns_of(files: Files, path: str, kind: str) -> tuple[tuple[Column, ...], int]:
    """Return the leaf columns and the rows of a file; raises an Arrow error or OSError.

    An Arrow stream is read through for its rows.
    """
    with _opened(files, path, kind) as (schema, stored, rows):
        counted = sum(len(batch) for batch in stored) if rows is None else rows
        return leaf_columns(schema), counted


def schema_of(files: Files, part: Part) -> pa.Schema:
    """Return a file's schema, structs as such."""
    with _opened(files, part.path, dict(part.dialect)[READER]) as (schema, *_):
        return schema


def batches(
    files: Files, part: Part, columns: Sequence[str], *, presence: bool
) -> Iterator[pa.RecordBatch]:
    """Yield these leaf columns of all rows, in the file's order."""
    with _opened(files, part.path, dict(part.dialect)[READER]) as (_, stored, _):
        for batch in stored:
            # Offsets of a damaged file must not be followed.
            batch.validate(full=True)
            for start in range(0, len(batch), _BATCH_ROWS):
                some = batch.slice(start, _BATCH_ROWS)
                yield flattened(some, columns, presence=presence)


@contextmanager
def _opened(files: Files, path: str, kind: str) -> Iterator[Any]:
    """Open a file as (schema, record batches, rows or None)."""
    fs, inner = files.filesystem(path)
    with fs.open(inner, "rb") as source:
        if kind == "orc":
            from pyarrow import orc

            file = orc.ORCFile(source)
            stripes = (file.read_stripe(i) for i in range(file.nstripes))
            yield file.schema, stripes, file.nrows
            return
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            yield stream.schema, stream, None
            return
        count = range(reader.num_record_batches)
        rows = sum(reader.get_batch(i).num_rows for i in count)
        yield reader.schema, map(reader.get_batch, count), rows
