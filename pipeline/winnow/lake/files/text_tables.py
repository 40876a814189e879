"""CSV and JSONL tables: types from every row, and rows as those types.

A type is inferred from the whole file, and only where every value is written as
programs write that type: `007`, `+1`, numbers that a double cannot hold and those of
more than 17 digits stay text. In CSV an empty field is null and a
quoted empty field (`""`) is empty text; the first line names the columns; the delimiter
is that of comma, semicolon, tab and bar which splits the first line into most columns
(always tab in `.tsv`); a row with more or fewer fields makes the file unreadable. JSON
has types of its own: strings stay text, objects become dotted columns, a field of mixed
types becomes text that holds JSON, and numbers of one field with fractions are doubles.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import duckdb
import pyarrow as pa

from winnow.lake.files.files import Files
from winnow.lake.files.leaves import flattened, leaf_columns
from winnow.lake.kernels.tables import Column, Part, Table

#: What reading a text file may raise, besides OSError and ValueError.
ERRORS = (duckdb.Error,)

_BATCH_ROWS = 1 << 16
_DELIMITERS = ",;\t|"
_INTEGER = r"0|-?[1-9][0-9]*"
_FINITE = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
_NOT_FINITE = "[nN]a[nN]|-?[iI]nf(inity)?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = _DAY + "[ T][0-9]{2}:[0-9]{2}:[0-9]{2}"
_ZONE = "(Z|[-+][0-9]{2}(:?[0-9]{2})?)"
_MANTISSA = "replace(replace(split_part(lower({c}), 'e', 1), '.', ''), '-', '')"
_DIGITS = f"length(ltrim({_MANTISSA}, '0'))"
_DOUBLE = "TRY_CAST({c} AS DOUBLE)"

# The first type of which every value is an exact notation.
_RULES = (
    ("BOOLEAN", pa.bool_(), "lower({c}) IN ('true', 'false')"),
    ("BIGINT", pa.int64(), f"regexp_full_match({{c}}, '{_INTEGER}')"),
    ("UBIGINT", pa.uint64(), f"regexp_full_match({{c}}, '{_INTEGER}')"),
    (
        "DOUBLE",
        pa.float64(),
        f"(regexp_full_match({{c}}, '{_NOT_FINITE}')"
        f" OR regexp_full_match({{c}}, '{_FINITE}') AND {_DIGITS} <= 17"
        f" AND isfinite({_DOUBLE}) AND ({_DOUBLE} = 0) = ({_DIGITS} = 0))",
    ),
    ("DATE", pa.date32(), f"regexp_full_match({{c}}, '{_DAY}')"),
    (
        "TIMESTAMP",
        pa.timestamp("us"),
        rf"regexp_full_match({{c}}, '{_INSTANT}(\.[0-9]{{1,6}})?')",
    ),
    (
        "TIMESTAMP_NS",
        pa.timestamp("ns"),
        rf"regexp_full_match({{c}}, '{_INSTANT}(\.[0-9]{{1,9}})?')",
    ),
    (
        "TIMESTAMPTZ",
        pa.timestamp("us", "UTC"),
        rf"regexp_full_match({{c}}, '{_INSTANT}(\.[0-9]{{1,6}})?{_ZONE}')",
    ),
)
_SQL_TYPES = {kind: name for name, kind, _ in _RULES}


def inferred(
    files: Files, path: str, kind: str
) -> tuple[tuple[Column, ...], int, tuple[tuple[str, str], ...]]:
    """Return the leaf columns, the rows and the dialect of a `csv` or `jsonl` file.

    Raises OSError, ValueError or one of ERRORS if the file cannot be read to its end.
    """
    return _inferred_csv(files, path) if kind == "csv" else _inferred_jsonl(files, path)


def batches(
    files: Files, table: Table, part: Part, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield these leaf columns of all rows, in the file's order."""
    path = _sql_path(files, part.path)
    if "structure" in dict(part.dialect):
        query = f"SELECT t FROM ({_objects(path, part.dialect)})"
    else:
        names = [column.name for column in table.columns]
        fields = [
            f"{_cast(names.index(name), table.column(name))} AS c{i}"
            for i, name in enumerate(columns)
        ]
        source = _csv_source(path, part.dialect, len(names))
        query = f"SELECT {', '.join(fields)} FROM {source}"
    with _connection(files, part.path) as connection:
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            if "structure" in dict(part.dialect):
                inner = batch.column(0)
                batch = pa.RecordBatch.from_arrays(  # noqa: PLW2901
                    inner.flatten(), names=[f.name for f in inner.type]
                )
                yield flattened(batch, columns)
            else:
                yield batch.rename_columns(list(columns))


def sql_source(part: Part, columns: Sequence[Column]) -> str:
    """Return a DuckDB subquery that gives a text part's leaf columns as `batches` does.

    `columns` are all columns of the table, in its order.
    """
    if "structure" in dict(part.dialect):
        paths = _json_paths(json.loads(dict(part.dialect)["structure"]))
        fields = [
            f"{'.'.join(['t', *map(quoted, path)])} AS {quoted('.'.join(path))}"
            for path in paths
        ]
        return (
            f"(SELECT {', '.join(fields)} FROM ({_objects(part.path, part.dialect)}))"
        )
    fields = [f"{_cast(i, c)} AS {quoted(c.name)}" for i, c in enumerate(columns)]
    source = _csv_source(part.path, part.dialect, len(columns))
    return f"(SELECT {', '.join(fields)} FROM {source})"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _inferred_csv(
    files: Files, path: str
) -> tuple[tuple[Column, ...], int, tuple[tuple[str, str], ...]]:
    delimiter, names = _header(files, path)
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have the same name")
    dialect = (("delimiter", delimiter),)
    columns = [f"c{i}" for i in range(len(names))]
    tests = [
        f"coalesce(bool_and({condition.replace('{c}', c)}"
        f" AND TRY_CAST({c} AS {name}) IS NOT NULL), false)"
        for c in columns
        for name, _, condition in _RULES
    ]
    counts = ["count(*)", *(f"count({c})" for c in columns)]
    source = _csv_source(_sql_path(files, path), dialect, len(names))
    with _connection(files, path) as connection:
        query = f"SELECT {', '.join([*counts, *tests])} FROM {source}"
        (found,) = connection.sql(query).fetchall()
    rows, values = found[0], found[1 : len(names) + 1]
    passed = found[len(names) + 1 :]
    kinds = [
        _first_type(passed[i * len(_RULES) : (i + 1) * len(_RULES)], bool(values[i]))
        for i in range(len(names))
    ]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    return leaf_columns(schema), rows, dialect


def _first_type(passed: Sequence[bool], has_values: bool) -> pa.DataType:
    if not has_values:
        return pa.null()
    kinds = (kind for (_, kind, _), fits in zip(_RULES, passed, strict=True) if fits)
    return next(kinds, pa.string())


def _header(files: Files, path: str) -> tuple[str, list[str]]:
    with _decompressed(files, path) as source:
        text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
        first = next(iter(text), "")
        if not first.strip():
            raise ValueError("it has no first line that names its columns")
        name = path.lower().partition(".tsv")
        delimiters = "\t" if name[1] else _DELIMITERS
        # A quoted name may span lines.
        lines = list(chain([first], text if first.count('"') % 2 else ()))
    rows = {d: next(csv.reader(lines, delimiter=d)) for d in delimiters}
    best = max(delimiters, key=lambda d: len(rows[d]))
    return best, rows[best]


def _decompressed(files: Files, path: str) -> Any:
    fs, inner = files.filesystem(path)
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path[path.rfind(".") :].lower())
    return pa.input_stream(fs.open(inner, "rb"), compression=compression)


def _csv_source(path: str, dialect: Sequence[tuple[str, str]], width: int) -> str:
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
    return (
        f"read_csv({literal(path)}, auto_detect=false, header=true, skip=0,"
        f" delim={literal(dict(dialect)['delimiter'])}, quote='\"', escape='\"',"
        f" allow_quoted_nulls=false, null_padding=false, columns={{{columns}}})"
    )


def _cast(place: int, column: Column) -> str:
    kind = _SQL_TYPES.get(column.type)
    if column.type == pa.null():
        return "NULL"
    return f"c{place}" if kind is None else f"CAST(c{place} AS {kind})"


def _inferred_jsonl(
    files: Files, path: str
) -> tuple[tuple[Column, ...], int, tuple[tuple[str, str], ...]]:
    source = f"read_ndjson_objects({literal(_sql_path(files, path))})"
    with _connection(files, path) as connection:
        query = f"SELECT count(*), json_group_structure(json)::VARCHAR FROM {source}"
        ((rows, found),) = connection.sql(query).fetchall()
        structure = _transformable(json.loads(found)) if found else {}
        if not isinstance(structure, dict):
            raise ValueError("a line of it is no JSON object")
        dialect = (("structure", json.dumps(structure, ensure_ascii=False)),)
        if not structure:
            return (), rows, dialect
        query = f"{_objects(_sql_path(files, path), dialect)} LIMIT 0"
        kind = connection.sql(query).to_arrow_table().schema.field(0).type
    return leaf_columns(pa.schema(list(kind))), rows, dialect


def _transformable(structure: Any) -> Any:
    """Return a structure without objects that never have a key; those stay JSON."""
    if isinstance(structure, dict) and structure:
        return {key: _transformable(value) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_transformable(value) for value in structure]
    return structure if structure != {} else "JSON"


def _objects(path: str, dialect: Sequence[tuple[str, str]]) -> str:
    structure = literal(dict(dialect)["structure"])
    return (
        f"SELECT json_transform(json, {structure}) AS t"
        f" FROM read_ndjson_objects({literal(path)})"
    )


def _json_paths(structure: dict[str, Any]) -> list[list[str]]:
    return [
        [key, *rest]
        for key, value in structure.items()
        for rest in (_json_paths(value) if isinstance(value, dict) else [[]])
    ]


def _sql_path(files: Files, path: str) -> str:
    fs, inner = files.filesystem(path)
    return inner if files.is_local(path) else str(fs.unstrip_protocol(inner))


def _connection(files: Files, path: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    if not files.is_local(path):
        connection.register_filesystem(files.filesystem(path)[0])
    return connection
