"""Arrow IPC files and streams (Feather)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from winnow.lake.files.formats.opened import OpenedRows, RowFormat


@contextmanager
def _opened(path: str, _: str) -> Iterator[OpenedRows]:
    with pa.OSFile(path) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            yield OpenedRows(stream.schema, stream, None)
            return
        count = range(reader.num_record_batches)
        rows = sum(reader.get_batch(i).num_rows for i in count)
        yield OpenedRows(reader.schema, map(reader.get_batch, count), rows)


ARROW = RowFormat(_opened)
