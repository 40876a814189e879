"""Files that are read as a whole, by a reader of their format: columns and rows.

Rebuild queries cannot read them: such a table may be had back from others, and no other
from it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa

from winnow.lake.files.files import Files
from winnow.lake.files.formats.arrow_ipc import ARROW
from winnow.lake.files.formats.avro import AVRO
from winnow.lake.files.formats.database import DATABASE
from winnow.lake.files.formats.delta import DELTA
from winnow.lake.files.formats.excel import EXCEL
from winnow.lake.files.formats.iceberg import ICEBERG
from winnow.lake.files.formats.opened import BATCH_ROWS, OpenedRows, RowFormat
from winnow.lake.files.formats.orc import ORC
from winnow.lake.files.leaves import flattened, leaf_columns
from winnow.lake.kernels.tables import Column, Part

#: What a part's dialect says of it: the format, and the table in a container.
READER, INNER = "reader", "table"
FORMATS: Mapping[str, RowFormat] = {
    "orc": ORC,
    "arrow": ARROW,
    "avro": AVRO,
    "database": DATABASE,
    "excel": EXCEL,
    "delta": DELTA,
    "iceberg": ICEBERG,
}
#: Formats whose log tells which files are a table: most are read as Parquet.
LOGGED = frozenset(("delta", "iceberg"))
#: Formats of files that hold several tables, none of which moves by itself.
CONTAINERS = frozenset(name for name, kind in FORMATS.items() if kind.tables)


def tables_in(files: Files, path: str, kind: str) -> list[str]:
    """Return the names of a container's tables; raises what its reader raises."""
    tables = FORMATS[kind].tables
    assert tables is not None
    with _here(files, path) as inner:
        return tables(inner)


def columns_of(
    files: Files, path: str, kind: str, table: str = ""
) -> tuple[tuple[Column, ...], int]:
    """Return the leaf columns and the rows of a table; raises what its reader raises.

    Some files are read through for their rows.
    """
    with _here(files, path) as inner, FORMATS[kind].open(inner, table) as opened:
        rows = opened.rows
        counted = sum(map(len, opened.batches)) if rows is None else rows
        return leaf_columns(opened.schema), counted


def schema_of(files: Files, part: Part) -> pa.Schema:
    """Return a file's schema, structs as such."""
    with _opened(files, part) as opened:
        return opened.schema


def batches(
    files: Files, part: Part, columns: Sequence[str], *, presence: bool
) -> Iterator[pa.RecordBatch]:
    """Yield these leaf columns of all rows, in the file's order."""
    with _opened(files, part) as opened:
        for batch in opened.batches:
            # Offsets of a damaged file must not be followed.
            batch.validate(full=True)
            for start in range(0, len(batch), BATCH_ROWS):
                some = batch.slice(start, BATCH_ROWS)
                yield flattened(some, columns, presence=presence)


@contextmanager
def _opened(files: Files, part: Part) -> Iterator[OpenedRows]:
    told = dict(part.dialect)
    with (
        _here(files, part.path) as inner,
        FORMATS[told[READER]].open(inner, told.get(INNER, "")) as opened,
    ):
        yield opened


@contextmanager
def _here(files: Files, path: str) -> Iterator[str]:
    """Give a path on this machine; a remote file is copied for as long."""
    fs, inner = files.filesystem(path)
    if files.is_local(path):
        yield inner
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "file")
        with fs.open(inner, "rb") as source, open(copy, "wb") as out:
            shutil.copyfileobj(source, out)
        yield copy
