"""Files that DuckDB or Arrow reads as a whole: CSV, JSON lines, ORC, Arrow IPC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from winnow.lake.files import column_files, csv_tables, json_lines
from winnow.lake.files.csv_tables import CsvOptions, CsvTable
from winnow.lake.files.files import Files
from winnow.lake.files.leaves import flattened
from winnow.lake.kernels.tables import Column, Part, Table


def inferred(
    files: Files, path: str, kind: str, options: CsvOptions | None = None
) -> CsvTable:
    """Return what one look at all of a `csv` or `jsonl` file tells.

    Raises OSError, ValueError or duckdb.Error if the file cannot be read to its end.
    """
    if kind == "csv":
        return csv_tables.inferred(files, path, options or CsvOptions())
    columns, rows, dialect = json_lines.inferred(files, path, in_lines=kind == "jsonl")
    nulls = {c.name: rows for c in columns if c.type == pa.null()}
    return CsvTable(columns, rows, nulls, dialect)


def batches(
    files: Files,
    table: Table,
    part: Part,
    columns: Sequence[str],
    *,
    presence: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Yield these leaf columns of all rows, in the file's order."""
    if column_files.READER in dict(part.dialect):
        yield from column_files.batches(files, part, columns, presence=presence)
    elif "structure" in dict(part.dialect):
        for batch in json_lines.batches(files, part):
            yield flattened(batch, columns, presence=presence)
    else:
        yield from csv_tables.batches(files, table.columns, part, columns)


def sql_source(files: Files, part: Part, columns: Sequence[Column]) -> str:
    """Return a DuckDB subquery of a text part: top-level columns, structs as such.

    `columns` are all columns of the table, in its order. Raises ValueError if DuckDB
    cannot open the file as it is.
    """
    if column_files.READER in dict(part.dialect):
        raise ValueError(f"no query reads {dict(part.dialect)[column_files.READER]}")
    if "structure" in dict(part.dialect):
        return json_lines.sql_source(files, part)
    return csv_tables.sql_source(files, part, columns)
