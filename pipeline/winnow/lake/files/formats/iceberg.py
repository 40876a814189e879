"""Iceberg tables with deleted rows in delete files, or whose columns were renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from winnow.lake.files.formats.opened import OpenedRows, RowFormat


@contextmanager
def _opened(path: str, _: str) -> Iterator[OpenedRows]:
    # It takes a while to load, and few lakes have such tables.
    from winnow.table_logs.iceberg import IcebergTable

    root = Path(path)
    below = [os.fspath(file.relative_to(root)) for file in root.rglob("*")]
    table = IcebergTable(LocalFileSystem(), path, below)
    yield OpenedRows(table.schema, table.batches(), None)


ICEBERG = RowFormat(_opened)
