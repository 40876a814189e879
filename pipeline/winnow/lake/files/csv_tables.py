"""CSV tables: the dialect from the first line, types from every row.

The first line names the columns. An empty field is null and a quoted empty field (`""`)
is empty text. The delimiter is that of comma, semicolon, tab and bar which splits the
first line into most columns (always tab in `.tsv`, bar in `.psv`). A row with more or
fewer fields makes the file unreadable, as does a first line that two readers, this one
and DuckDB, do not read alike: a malformed quote there hides rows.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from winnow.core.sql_text import literal
from winnow.lake.files.files import Files
from winnow.lake.files.text_encoding import (
    as_duckdb_reads,
    encoding_of,
    is_native,
    opened,
    sql_name,
    sql_path,
    without_folders,
)
from winnow.lake.files.text_types import SQL_TYPES, Notation
from winnow.lake.kernels.families import family
from winnow.lake.kernels.tables import Column, Part

_BATCH_ROWS = 1 << 16
_DELIMITERS = ",;\t|"
#: By default a field has at most 131,072 characters for Python's reader.
_LONGEST_FIELD = min(sys.maxsize, (1 << 31) - 1)


@dataclass(frozen=True)
class CsvOptions:
    """How a CSV file is read where that cannot be told from the file.

    encoding: a name that Python knows; None: UTF-16 by its mark, else UTF-8.
    delimiter, quote: one character each; delimiter None: found from the first line.
    null_values: fields, unquoted, that are null besides the empty one.
    comment: lines that begin with this character are left out.
    """

    encoding: str | None = None
    delimiter: str | None = None
    quote: str = '"'
    null_values: tuple[str, ...] = ()
    comment: str | None = None


@dataclass(frozen=True)
class CsvTable:
    """What one look at all of a CSV file tells."""

    columns: tuple[Column, ...]
    rows: int
    nulls: Mapping[str, int]
    dialect: tuple[tuple[str, str], ...]


def inferred(files: Files, path: str, options: CsvOptions) -> CsvTable:
    """Return the columns, the rows and the dialect of a CSV file.

    Raises OSError, ValueError or duckdb.Error if it cannot be read to its end.
    """
    encoding = encoding_of(files, path, options.encoding)
    delimiter, names = _header(files, path, encoding, options)
    dialect = (
        ("delimiter", delimiter),
        ("quote", options.quote),
        ("nulls", json.dumps(["", *options.null_values])),
        ("comment", options.comment or ""),
        ("encoding", encoding),
    )
    notations = [Notation() for _ in names]
    rows = -1
    with as_duckdb_reads(files, path, encoding) as (connection, readable):
        query = f"FROM {_source(readable, dialect, len(names), header=False)}"
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            data = batch
            if rows < 0 and len(batch):
                _require_same_header(batch, names, options.null_values)
                data, rows = batch.slice(1), 0
            for notation, array in zip(notations, data.columns, strict=True):
                notation.add(array)
            rows += len(data)
    if rows < 0:
        raise ValueError("its first line is read in two ways; look at its quotes")
    unique = _unique(names)
    return CsvTable(
        tuple(
            Column(name, notation.type, family(notation.type))
            for name, notation in zip(unique, notations, strict=True)
        ),
        rows,
        {n: notation.nulls for n, notation in zip(unique, notations, strict=True)},
        dialect,
    )


def batches(
    files: Files, columns: Sequence[Column], part: Part, chosen: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield some leaf columns of all rows, in the file's order."""
    dialect = dict(part.dialect)
    places = {column.name: i for i, column in enumerate(columns)}
    fields = [
        f"{_cast(places[name], columns[places[name]])} AS c{i}"
        for i, name in enumerate(chosen)
    ]
    with as_duckdb_reads(files, part.path, dialect["encoding"]) as (sql, readable):
        source = _source(readable, part.dialect, len(columns))
        reader = sql.sql(f"SELECT {', '.join(fields)} FROM {source}")
        for batch in reader.to_arrow_reader(_BATCH_ROWS):
            yield batch.rename_columns(list(chosen))


def sql_source(files: Files, part: Part, columns: Sequence[Column]) -> str:
    """Return a DuckDB subquery that gives a part's columns as `batches` does.

    Raises ValueError if DuckDB cannot open the file as it is.
    """
    if not is_native(part.path, dict(part.dialect)["encoding"]):
        raise ValueError("no query reads a text file that is encoded or packed so")
    fields = [f"{_cast(i, c)} AS {sql_name(c.name)}" for i, c in enumerate(columns)]
    source = _source(sql_path(files, part.path), part.dialect, len(columns))
    return f"(SELECT {', '.join(fields)} FROM {source})"


def other_notations(
    files: Files, part: Part, columns: Sequence[Column], most: int
) -> dict[str, dict[str, str]]:
    """Return by column the fields that are not written as their values are.

    Each with the notation of its value; of each column at most so many.
    """
    alone = {
        f"c{i}": f"CAST({_cast(i, column)} AS VARCHAR)"
        for i, column in enumerate(columns)
        if column.type in SQL_TYPES
    }
    if not alone:
        return {}
    names = {f"c{i}": column.name for i, column in enumerate(columns)}
    written = {}
    dialect = dict(part.dialect)
    with as_duckdb_reads(files, part.path, dialect["encoding"]) as (sql, readable):
        source = _source(readable, part.dialect, len(columns))
        differ = ", ".join(f"bool_or({c} <> {text})" for c, text in alone.items())
        (row,) = sql.sql(f"SELECT {differ} FROM {source}").fetchall()
        for (c, text), differs in zip(alone.items(), row, strict=True):
            if differs:
                query = (
                    f"SELECT DISTINCT {c}, {text} FROM {source}"
                    f" WHERE {c} <> {text} ORDER BY {c} LIMIT {most}"
                )
                written[names[c]] = dict(sql.sql(query).fetchall())
    return written


def holding(
    files: Files, part: Part, columns: Sequence[Column], name: str, texts: Sequence[str]
) -> frozenset[str]:
    """Return which of some texts stand in a column, as they are written."""
    number = [column.name for column in columns].index(name)
    dialect = dict(part.dialect)
    with as_duckdb_reads(files, part.path, dialect["encoding"]) as (sql, readable):
        source = _source(readable, part.dialect, len(columns))
        wanted = ", ".join(map(literal, texts))
        query = f"SELECT DISTINCT c{number} FROM {source} WHERE c{number} IN ({wanted})"
        return frozenset(text for (text,) in sql.sql(query).fetchall())


def _cast(number: int, column: Column) -> str:
    kind = SQL_TYPES.get(column.type)
    if column.type == pa.null():
        return "CAST(NULL AS VARCHAR)"
    return f"c{number}" if kind is None else f"CAST(c{number} AS {kind})"


def _source(
    path: str, dialect: Sequence[tuple[str, str]], width: int, *, header: bool = True
) -> str:
    told = dict(dialect)
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
    nulls = json.loads(told["nulls"])
    optional = f", nullstr=[{', '.join(map(literal, nulls))}]" if len(nulls) > 1 else ""
    if told["comment"]:
        optional += f", comment={literal(told['comment'])}"
    optional += without_folders(path)
    quote = literal(told["quote"])
    return (
        f"read_csv({literal(path)}, auto_detect=false, header={str(header).lower()},"
        f" skip=0, delim={literal(told['delimiter'])}, quote={quote}, escape={quote},"
        f" allow_quoted_nulls=false, null_padding=false{optional},"
        f" columns={{{columns}}})"
    )


def _header(
    files: Files, path: str, encoding: str, options: CsvOptions
) -> tuple[str, list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    with opened(files, path) as source:
        text = io.TextIOWrapper(
            source,
            encoding="utf-8-sig" if encoding == "utf-8" else encoding,
            newline="",
        )
        try:
            first, rest = _first_line(text, options.comment)
            # A quoted name may span lines.
            lines = list(chain([first], rest if first.count(options.quote) % 2 else ()))
        except UnicodeError as error:
            raise ValueError(
                f"it is not in {encoding}; say how it is encoded with"
                " `csv: {NAME: {encoding: latin-1}}`"
            ) from error
    told = options.delimiter or _told_by_name(path)
    counts = {
        d: len(next(csv.reader(lines, delimiter=d, quotechar=options.quote)))
        for d in told or _DELIMITERS
    }
    best = max(counts, key=counts.__getitem__)
    return best, _names(lines, best, options.quote)


def _first_line(text: Any, comment: str | None) -> tuple[str, Iterator[str]]:
    # A mark before it is no part of the text, whatever encoding is told.
    rest = chain([text.readline().removeprefix("\ufeff")], text)
    for line in rest:
        if comment and line.startswith(comment):
            continue
        if line.strip():
            return line, rest
        break
    raise ValueError("it has no first line that names its columns")


def _names(lines: Sequence[str], delimiter: str, quote: str) -> list[str]:
    reader = csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
    try:
        return next(reader)
    except csv.Error as error:
        raise ValueError(f"a quote in its first line is malformed ({error})") from error


def _told_by_name(path: str) -> str | None:
    base = path.lower().rpartition("/")[2]
    return "\t" if ".tsv" in base else "|" if ".psv" in base else None


def _require_same_header(
    batch: pa.RecordBatch, names: Sequence[str], nulls: Sequence[str]
) -> None:
    first = [array[0].as_py() or "" for array in batch.columns]
    pairs = zip(first, names, strict=True)
    if not all(one == name or (not one and name in nulls) for one, name in pairs):
        raise ValueError(
            f"its first line is read in two ways ({first[:3]} and {list(names)[:3]}); "
            "look at its quotes"
        )


def _unique(names: Sequence[str]) -> list[str]:
    """Return names of which none occurs twice: `a, a` are `a, a.1`, as in pandas."""
    left = set(names)
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        new = name
        while seen[name] and new in left:
            new = f"{name}.{seen[name]}"
            seen[name] += new in left
        seen[name] += 1
        left.add(new)
        unique.append(new)
    return unique
