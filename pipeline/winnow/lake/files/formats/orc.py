"""ORC files, by Arrow's reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from winnow.lake.files.formats.opened import OpenedRows, RowFormat


@contextmanager
def _opened(path: str, _: str) -> Iterator[OpenedRows]:
    from pyarrow import orc

    with open(path, "rb") as source:
        file = orc.ORCFile(source)
        stripes = (file.read_stripe(i) for i in range(file.nstripes))
        yield OpenedRows(file.schema, stripes, file.nrows)


ORC = RowFormat(_opened)
