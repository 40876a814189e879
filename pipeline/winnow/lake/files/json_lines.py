"""JSON objects, in lines or an array: dotted columns, numbers in types that hold them.

JSON has types of its own: strings stay text, a field of mixed types becomes text that
holds JSON, and numbers of one field with fractions are doubles. A field that holds a
number which its type would change (an integer of 2^64 or more, one above 2^53 beside a
fraction, a fraction that is not the shortest one of its double) is text: its digits.
DuckDB turns fractions into doubles before it writes them as text, so that it is given
such fields with quotes around their numbers.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from winnow.core.sql_text import literal
from winnow.lake.files.files import Files
from winnow.lake.files.leaves import leaf_columns
from winnow.lake.files.text_encoding import (
    MARKED_UTF8,
    UTF8,
    as_duckdb_reads,
    encoding_of,
    is_marked,
    is_native,
    opened,
    sql_path,
    without_folders,
)
from winnow.lake.kernels.tables import Column, Part

if TYPE_CHECKING:
    import duckdb

_BATCH_ROWS = 1 << 16
#: Lines that may hold a number which no type has; few do.
_SUSPECT = "[0-9][0-9.]{15,}|[0-9][eE][-+]?[0-9]{2,}"
_MOST_DIGITS = 17
_BLOCK = 1 << 16
#: How objects stand in a file, as DuckDB calls it.
_LINES, _AFTER_EACH_OTHER = "newline_delimited", "unstructured"
#: Keys from the outside in; an element of a list has the key None.
_Path = tuple[str | None, ...]
_Dialect = Sequence[tuple[str, str]]
#: The paths of leaves whose numbers are read as texts.
_QUOTED = "quoted"


def inferred(
    files: Files, path: str, *, in_lines: bool = True
) -> tuple[tuple[Column, ...], int, tuple[tuple[str, str], ...]]:
    """Return the leaf columns, the rows and the dialect of a file of JSON objects.

    in_lines: one a line; else they stand in an array, or after each other. Raises
    OSError, ValueError or duckdb.Error if it cannot be read to its end.
    """
    encoding = encoding_of(files, path, None)
    layout = _LINES if in_lines else _layout(files, path, encoding)
    if in_lines and encoding == UTF8 and is_marked(files, path):
        encoding = MARKED_UTF8  # DuckDB reads no lines behind a mark
    with as_duckdb_reads(files, path, encoding) as (connection, readable):
        source = _source(readable, layout)
        query = f"SELECT count(*), json_group_structure(json)::VARCHAR FROM {source}"
        ((rows, grouped),) = connection.sql(query).fetchall()
        structure = _transformable(json.loads(grouped)) if grouped else {}
        if not isinstance(structure, dict):
            raise ValueError("a line of it is no JSON object")
        if layout == _AFTER_EACH_OTHER and rows == 1:
            raise ValueError("it holds one JSON object, and no rows")
        _require_keys_once(connection, source, structure)
        inexact = _inexact(connection, source, structure)
        for path_of_leaf in inexact:
            structure = with_leaf(structure, path_of_leaf, "VARCHAR")
        dialect: tuple[tuple[str, str], ...] = (
            ("structure", json.dumps(structure, ensure_ascii=False)),
            ("encoding", encoding),
            ("layout", layout),
        )
        if _with_fractions(connection, source, inexact):
            dialect += ((_QUOTED, json.dumps(inexact)),)
        if not structure:
            return (), rows, dialect
        query = f"{_objects(readable, dialect)} LIMIT 0"
        kind = connection.sql(query).to_arrow_table().schema.field(0).type
    return leaf_columns(pa.schema(list(kind))), rows, dialect


def batches(files: Files, part: Part) -> Iterator[pa.RecordBatch]:
    """Yield the objects' fields, structs as such, in the file's order."""
    with _readable(files, part) as (connection, readable, dialect):
        query = f"SELECT t FROM ({_objects(readable, dialect)})"
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            inner = batch.column(0)
            yield pa.RecordBatch.from_arrays(
                inner.flatten(), names=[f.name for f in inner.type]
            )


def sql_source(files: Files, part: Part) -> str:
    """Return a DuckDB subquery that gives the objects' fields, structs as such.

    Raises ValueError if DuckDB cannot open the file as it is.
    """
    dialect = dict(part.dialect)
    if _QUOTED in dialect:
        raise ValueError("no query reads numbers that no type holds as they are")
    if not is_native(part.path, dialect["encoding"]):
        raise ValueError("no query reads a text file that is encoded or packed so")
    return (
        "(SELECT unnest(t) FROM"
        f" ({_objects(sql_path(files, part.path), part.dialect)}))"
    )


@contextmanager
def _readable(
    files: Files, part: Part
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str, _Dialect]]:
    """Open a connection, a path of the objects for it, and how they stand there."""
    dialect = dict(part.dialect)
    quoted = {tuple(path) for path in json.loads(dialect.get(_QUOTED, "[]"))}
    with as_duckdb_reads(files, part.path, dialect["encoding"]) as (sql, readable):
        if not quoted:
            yield sql, readable, part.dialect
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "objects")
            source = _source(readable, dialect.get("layout", _LINES))
            with open(copy, "w", encoding=UTF8) as out:
                for value in _values(sql, source):
                    out.write(f"{json.dumps(_with_quotes(value, (), quoted))}\n")
            dialect["layout"] = _LINES
            yield sql, copy, tuple(dialect.items())


def _values(sql: duckdb.DuckDBPyConnection, source: str) -> Iterator[Any]:
    """Yield the objects, numbers as they are written."""
    lines = sql.sql(f"SELECT json::VARCHAR FROM {source}")
    for batch in lines.to_arrow_reader(_BATCH_ROWS):
        for line in batch.column(0).to_pylist():
            yield json.loads(line, parse_float=_WrittenNumber, parse_int=_WrittenNumber)


def _with_quotes(value: Any, path: _Path, quoted: Collection[_Path]) -> Any:
    """Return a value whose numbers at some paths are texts, others plain numbers."""
    if isinstance(value, dict):
        return {k: _with_quotes(v, (*path, k), quoted) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_quotes(v, (*path, None), quoted) for v in value]
    if not isinstance(value, _WrittenNumber) or path in quoted:
        return value
    return int(value) if value.lstrip("-").isdecimal() else float(value)


def _with_fractions(
    sql: duckdb.DuckDBPyConnection, source: str, leaves: Collection[_Path]
) -> bool:
    """Whether some leaves hold a fraction; integers keep their digits as texts."""
    return bool(leaves) and any(
        path in leaves and not str(number).lstrip("-").isdecimal()
        for value in _values(sql, source)
        for path, number in _numbers(value, ())
    )


def written_numbers(files: Files, part: Part) -> Iterator[tuple[str, str]]:
    """Yield each number of a file as it is written, with its leaf column.

    Raises OSError, ValueError or duckdb.Error if the file cannot be read.
    """
    dialect = dict(part.dialect)
    with as_duckdb_reads(files, part.path, dialect["encoding"]) as (sql, readable):
        for value in _values(sql, _source(readable, dialect.get("layout", _LINES))):
            for path, number in _numbers(value, ()):
                keys = path[: path.index(None)] if None in path else path
                yield ".".join(map(str, keys)), str(number)


def paths(structure: Any) -> list[tuple[str, ...]]:
    """Return the path of each leaf of a structure, objects opened and lists not."""
    return [
        (key, *rest)
        for key, value in structure.items()
        for rest in (paths(value) if isinstance(value, dict) and value else [()])
    ]


def with_leaf(structure: Any, path: Sequence[str | None], kind: str) -> Any:
    """Return a structure in which the leaf at a path has another kind."""
    if not path:
        return kind
    first, *rest = path
    if first is None:
        return [with_leaf(value, rest, kind) for value in structure]
    return {**structure, first: with_leaf(structure[first], rest, kind)}


def _transformable(structure: Any) -> Any:
    """Return a structure without objects that never have a key; those stay JSON."""
    if isinstance(structure, dict) and structure:
        return {key: _transformable(value) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_transformable(value) for value in structure]
    return structure if structure != {} else "JSON"


def _objects(path: str, dialect: Sequence[tuple[str, str]]) -> str:
    structure = literal(dict(dialect)["structure"])
    source = _source(path, dict(dialect).get("layout", _LINES))
    return f"SELECT json_transform(json, {structure}) AS t FROM {source}"


def _source(path: str, layout: str) -> str:
    options = f"format={literal(layout)}{without_folders(path)}"
    return f"read_json_objects({literal(path)}, {options})"


def _layout(files: Files, path: str, encoding: str) -> str:
    """Return how the objects of a file stand; raises ValueError if it has none."""
    with opened(files, path) as source:
        text = io.TextIOWrapper(source, encoding=encoding)
        while block := text.read(_BLOCK):
            if first := block.lstrip("\ufeff \t\r\n")[:1]:
                if first not in "[{":
                    break
                return "array" if first == "[" else _AFTER_EACH_OTHER
    raise ValueError("it holds neither an array of JSON objects nor objects")


class _WrittenNumber(str):
    """A number as it is written."""


def _require_keys_once(
    connection: duckdb.DuckDBPyConnection, source: str, structure: Any
) -> None:
    """Raise ValueError for an object that says a key twice.

    DuckDB takes the first value, Python and most others the last: a table that is read
    so would be another one for its users.
    """
    twice = "len({0}) <> len(list_distinct({0}))".format
    conditions = [
        f"len(list_filter({keys}, lambda k: {twice('k')})) > 0"
        if in_list
        else twice(keys)
        for path, in_list in _object_paths(structure, "$")
        for keys in [f"json_keys(json, {literal(path)})"]
    ]
    if conditions:
        query = f"SELECT json::VARCHAR FROM {source} WHERE {' OR '.join(conditions)}"
        for (text,) in connection.sql(f"{query} LIMIT 1").fetchall():
            raise ValueError(f"an object of it says a key twice: {text[:60]}")


def _object_paths(
    structure: Any, path: str, in_list: bool = False
) -> Iterator[tuple[str, bool]]:
    """Yield the path of each object in DuckDB's notation, and whether it has a list."""
    if isinstance(structure, list):
        for value in structure:
            yield from _object_paths(value, f"{path}[*]", True)
    elif isinstance(structure, dict):
        yield path, in_list
        for key, value in structure.items():
            quoted = key.replace("\\", "\\\\").replace('"', '\\"')
            yield from _object_paths(value, f'{path}."{quoted}"', in_list)


def _inexact(
    connection: duckdb.DuckDBPyConnection, source: str, structure: Any
) -> list[_Path]:
    """Return the leaves that hold a number which their type would change.

    Raises ValueError for a fraction of more digits than a double has in a field of
    mixed types: DuckDB, like most readers, would change it before anybody can look.
    """
    suspect = literal(_SUSPECT)
    query = (
        f"SELECT json::VARCHAR FROM {source}"
        f" WHERE regexp_matches(json::VARCHAR, {suspect})"
    )
    changed: set[_Path] = set()
    for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
        for line in batch.column(0).to_pylist():
            try:
                value = json.loads(line, parse_float=_WrittenNumber)
            except (ValueError, RecursionError):
                continue
            changed.update(
                p for p, n in _numbers(value, ()) if _changes(n, p, structure)
            )
    return sorted(changed, key=repr)


def _numbers(value: Any, path: _Path) -> Iterator[tuple[_Path, int | _WrittenNumber]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, (*path, None))
    elif isinstance(value, _WrittenNumber) or (
        isinstance(value, int) and not isinstance(value, bool)
    ):
        yield path, value


def _changes(number: int | _WrittenNumber, path: _Path, structure: Any) -> bool:
    kind = structure
    for key in path:
        if isinstance(kind, dict) and key is not None:
            kind = kind.get(key)
        elif isinstance(kind, list) and key is None:
            kind = kind[0]
    if isinstance(number, int):
        return bool(kind == "DOUBLE") and not _is_double(number)
    double = float(number)
    if kind == "DOUBLE":
        return Decimal(repr(double)) != Decimal(number)
    mantissa = number.lower().partition("e")[0]
    digits = mantissa.replace(".", "").lstrip("-").lstrip("0")
    beyond = len(digits.rstrip("0")) > _MOST_DIGITS or (double == 0) != (not digits)
    if beyond and abs(double) != float("inf"):
        raise ValueError(
            f"its number {number[:60]} has more digits than readers of JSON keep; write"
            " such numbers as strings"
        )
    return False


def _is_double(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False
