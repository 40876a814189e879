"""Avro files, by polars' reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from winnow.lake.files.formats.opened import OpenedRows, RowFormat


@contextmanager
def _opened(path: str, _: str) -> Iterator[OpenedRows]:
    import polars as pl

    try:
        table = pl.read_avro(path).to_arrow()
    except pl.exceptions.PanicException as error:
        # It is no Exception, and would end the scan.
        raise ValueError(f"polars cannot read it ({error})") from error
    yield OpenedRows(table.schema, iter(table.to_batches()), len(table))


AVRO = RowFormat(_opened)
