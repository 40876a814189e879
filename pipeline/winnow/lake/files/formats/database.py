"""Database files: SQLite by the standard library, DuckDB by itself; both read only.

SQLite's values have types, its columns do not: a column is what all of its values are,
and text that tells them apart (`1` is not `'1'`) where they are of several kinds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa

from winnow.core.sql_text import identifier
from winnow.lake.files.formats.opened import BATCH_ROWS, OpenedRows, RowFormat

if TYPE_CHECKING:
    import duckdb

_SQLITE, _DUCKDB = b"SQLite format 3\0", b"DUCK"
#: Where a DuckDB file says that it is one.
_MARK = 8
#: Beside a file that is being written.
_UNWRITTEN = {_SQLITE: ("-wal", "-journal"), _DUCKDB: (".wal",)}
_KINDS = {
    frozenset(): pa.null(),
    frozenset(["integer"]): pa.int64(),
    frozenset(["real"]): pa.float64(),
    frozenset(["text"]): pa.string(),
    frozenset(["blob"]): pa.binary(),
}


def _kind(path: str) -> bytes:
    with open(path, "rb") as file:
        head = file.read(16)
    kind = _SQLITE if head == _SQLITE else _DUCKDB
    if kind == _DUCKDB and head[_MARK:12] != _DUCKDB:
        raise ValueError("it is neither an SQLite nor a DuckDB file")
    for ending in _UNWRITTEN[kind]:
        if os.path.isfile(path + ending) and os.path.getsize(path + ending):
            raise ValueError(f"it is in use: what {ending} beside it holds is missing")
    return kind


def _tables(path: str) -> list[str]:
    if _kind(path) == _SQLITE:
        with closing(_sqlite(path)) as connection:
            rows = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
                " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            ).fetchall()
        return sorted(name.decode() for (name,) in rows)
    with _duckdb(path) as connection:
        rows = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables()"
            " WHERE database_name = current_database() AND NOT internal"
        ).fetchall()
    return sorted(".".join(names) for names in rows)


@contextmanager
def _opened(path: str, table: str) -> Iterator[OpenedRows]:
    if _kind(path) == _SQLITE:
        with closing(_sqlite(path)) as connection:
            yield _of_sqlite(connection, identifier(table))
        return
    schema, _, name = table.partition(".")
    source = f"{identifier(schema)}.{identifier(name)}"
    with _duckdb(path) as connection:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {source}").fetchall()
        reader = connection.sql(f"SELECT * FROM {source}").to_arrow_reader(BATCH_ROWS)
        yield OpenedRows(reader.schema, reader, rows)


def _sqlite(path: str) -> sqlite3.Connection:
    # As it lies there: nothing is locked, and nothing written.
    url = f"file:{quote(os.path.abspath(path))}?mode=ro&immutable=1"
    connection = sqlite3.connect(url, uri=True, check_same_thread=False)
    # Texts as they are stored, which need not be UTF-8.
    connection.text_factory = bytes
    return connection


def _duckdb(path: str) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(
        path, read_only=True, config={"autoinstall_known_extensions": "false"}
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _of_sqlite(connection: sqlite3.Connection, source: str) -> OpenedRows:
    described = connection.execute(f"SELECT * FROM {source} LIMIT 0").description
    names = [column[0] for column in described]
    kinds = [_type_of(connection, source, name) for name in names]
    columns = [
        identifier(name) if kind is not None else f"quote({identifier(name)})"
        for name, kind in zip(names, kinds, strict=True)
    ]
    types = [pa.string() if kind is None else kind for kind in kinds]
    schema = pa.schema(list(zip(names, types, strict=True)))
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {source}").fetchall()
    cursor = connection.execute(f"SELECT {', '.join(columns)} FROM {source}")
    return OpenedRows(schema, _batches(cursor, schema), rows)


def _type_of(
    connection: sqlite3.Connection, source: str, name: str
) -> pa.DataType | None:
    column = identifier(name)
    query = f"SELECT DISTINCT typeof({column}) FROM {source} WHERE {column} NOT NULL"
    return _KINDS.get(
        frozenset(kind.decode() for (kind,) in connection.execute(query).fetchall())
    )


def _batches(cursor: sqlite3.Cursor, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while rows := cursor.fetchmany(BATCH_ROWS):
        columns: Sequence[Sequence[object]] = list(zip(*rows, strict=True))
        arrays = [
            _text(values)
            if pa.types.is_string(field.type)
            else pa.array(values, field.type)
            for values, field in zip(columns, schema, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=schema.names)


def _text(values: Sequence[object]) -> pa.Array:
    """Return text, or bytes where it is no UTF-8."""
    stored = pa.array(values, pa.binary())
    text = stored.view(pa.string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return stored
    return text


DATABASE = RowFormat(_opened, _tables)
