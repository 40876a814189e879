"""Tables as DuckDB sees them: what stands behind FROM, and each leaf column's name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from winnow.core.sql_text import literal
from winnow.lake.files import column_files, json_lines
from winnow.lake.files.files import Files
from winnow.lake.files.sql_types import sql_type, sql_value
from winnow.lake.files.text_encoding import sql_name, without_folders
from winnow.lake.files.text_readers import sql_source
from winnow.lake.kernels.tables import Part, Table

_ROW_NUMBER = "file_row_number"
_POSITION = "winnow_position"
#: The table's name in queries.
_ALIAS = "p"

#: A leaf column's names from the outside in.
LeafPath = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What a query reads a table from."""

    #: A table function or a subquery, with its alias.
    sql: str
    #: Expression of each leaf column that was asked for.
    columns: Mapping[str, str]
    #: Expression of the row's position in the table, if it was asked for.
    position: str | None
    #: Whether rows come in another order unless they are sorted by position.
    unordered: bool = False
    #: Expression of each struct, by its path, where the table's files hold it.
    structs: Mapping[LeafPath, str] = field(default_factory=dict)


def leaf_paths(files: Files, table: Table) -> dict[str, LeafPath]:
    """Return the path of each leaf column of a table, in the table's order.

    `a.b` is a field of a struct or a column of that name; only the files can tell.
    Raises OSError or an Arrow error if they cannot be read.
    """
    paths: dict[str, LeafPath] = {}
    for part in table.parts:
        for path in _paths_in(files, part):
            paths.setdefault(".".join(path), path)
    return {c.name: paths.get(c.name, (c.name,)) for c in table.columns}


def source(
    files: Files, table: Table, columns: Sequence[str], *, positions: bool
) -> Source:
    """Return how to read these leaf columns of a table, rows in the table's order.

    DuckDB keeps the order of a file's rows unless `preserve_insertion_order` is off;
    of several files the rows have to be sorted by their position, which is there then.
    Raises what `leaf_paths` does.
    """
    if len(table.parts) == 1 and not table.parts[0].constants:
        (part,) = table.parts
        if part.dialect:
            return _of_text(files, table, part, columns, positions=positions)
        return _of_parquet(files, table, columns, positions=positions)
    offset, branches = 0, []
    for part in table.parts:
        branches.append(_branch(files, table, part, columns, offset))
        offset += part.rows
    union = _subquery(" UNION ALL ".join(branches), columns, positions=True)
    return replace(union, unordered=len(branches) > 1)


def _of_text(
    files: Files,
    table: Table,
    part: Part,
    columns: Sequence[str],
    *,
    positions: bool,
) -> Source:
    numbered = f", row_number() OVER () - 1 AS {_POSITION}" if positions else ""
    sql = f"SELECT *{numbered} FROM {sql_source(files, part, table.columns)}"
    if "structure" not in dict(part.dialect):
        return _subquery(sql, columns, positions=positions)
    paths = {".".join(path): path for path in _paths_in(files, part)}
    return Source(
        f"({sql}) AS {_ALIAS}",
        {name: _expression(paths[name]) for name in columns},
        f"{_ALIAS}.{_POSITION}" if positions else None,
        structs=_structs(paths.values()),
    )


def _structs(paths: Iterable[LeafPath]) -> dict[LeafPath, str]:
    """Return the expressions of all structs around some leaves."""
    return {
        path[:depth]: _expression(path[:depth])
        for path in paths
        for depth in range(1, len(path))
    }


def _subquery(sql: str, columns: Sequence[str], *, positions: bool) -> Source:
    return Source(
        f"({sql}) AS {_ALIAS}",
        {name: _expression((name,)) for name in columns},
        f"{_ALIAS}.{_POSITION}" if positions else None,
    )


def _of_parquet(
    files: Files, table: Table, columns: Sequence[str], *, positions: bool
) -> Source:
    (part,) = table.parts
    paths = {".".join(path): path for path in _paths_in(files, part)}
    names = {name: _expression(paths[name]) for name in columns}
    return Source(
        _read_parquet(part, positions=positions),
        names,
        f"{_ALIAS}.{_ROW_NUMBER}" if positions else None,
        structs=_structs(paths.values()),
    )


def _branch(
    files: Files,
    table: Table,
    part: Part,
    columns: Sequence[str],
    offset: int,
) -> str:
    """Return the query of one part, its columns under their dotted names."""
    constants = {name: sql_value(value) for name, value in part.constants}
    if part.dialect:
        text = _of_text(files, table, part, columns, positions=True)
        sql, position = text.sql, text.position
        expressions = {**constants, **text.columns}
    else:
        held = {".".join(path): path for path in _paths_in(files, part)}
        stored = {name: _expression(path) for name, path in held.items()}
        sql = _read_parquet(part, positions=True)
        position, expressions = f"{_ALIAS}.{_ROW_NUMBER}", {**constants, **stored}
    chosen = [
        f"{_widened(table, name, expressions.get(name, 'NULL'))} AS {sql_name(name)}"
        for name in columns
    ]
    chosen.append(f"{position} + {offset} AS {_POSITION}")
    return f"SELECT {', '.join(chosen)} FROM {sql}"


def _widened(table: Table, name: str, expression: str) -> str:
    """Return an expression in the table's own type: parts may differ in width."""
    kind = sql_type(table.column(name).type)
    return expression if kind is None else f"CAST({expression} AS {kind})"


def _read_parquet(part: Part, *, positions: bool) -> str:
    options = literal(part.path) + without_folders(part.path)
    if positions:
        options += f", {_ROW_NUMBER} = true"
    return f"read_parquet({options}) AS {_ALIAS}"


def _expression(path: LeafPath) -> str:
    expression = f"{_ALIAS}.{sql_name(path[0])}"
    for name in path[1:]:
        expression = f"struct_extract({expression}, {literal(name)})"
    return expression


def _paths_in(files: Files, part: Part) -> Iterator[LeafPath]:
    structure = dict(part.dialect).get("structure")
    if structure is not None:
        yield from json_lines.paths(json.loads(structure))
    elif column_files.READER in dict(part.dialect):
        for field in column_files.schema_of(files, part):
            yield from _struct_paths((field.name,), field.type)
    elif not (part.dialect or any("." in name for name in part.column_bytes)):
        # Only a path of several names needs a look at the file.
        yield from ((name,) for name in part.column_bytes)
    elif not part.dialect:
        with files.parquet(part.path) as file:
            for field in file.schema_arrow:
                yield from _struct_paths((field.name,), field.type)


def _struct_paths(path: LeafPath, kind: pa.DataType) -> Iterator[LeafPath]:
    if not (pa.types.is_struct(kind) and kind.num_fields):
        yield path
        return
    for i in range(kind.num_fields):
        yield from _struct_paths((*path, kind.field(i).name), kind.field(i).type)
