"""The query that gives a deleted table back from a retained one, in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from winnow.core.sql_text import literal
from winnow.lake.files.files import Files
from winnow.lake.files.sql_source import LeafPath, Source, leaf_paths, source
from winnow.lake.files.sql_types import sql_type, sql_value
from winnow.lake.files.text_encoding import sql_name, without_folders
from winnow.lake.kernels.families import value_type
from winnow.lake.kernels.tables import Column, Table

#: Column of a side file: the parent's row that each row of the child is.
SIDE_POSITION = "winnow_position"
_SIDE_ORDER = "file_row_number"


@dataclass(frozen=True)
class Where:
    """A condition on one of the parent's columns; see `row_selection.Condition`."""

    column: str
    values: tuple[pa.Scalar, ...] = ()
    bounds: tuple[pa.Scalar, pa.Scalar] | None = None

    @property
    def listed(self) -> bool:
        """Whether rows are looked up in a list of several values."""
        return self.bounds is None and len(self.values) > 1


@dataclass(frozen=True)
class ChosenRows:
    """Which rows of the parent are the child's, in its order.

    At most one of the three: rows that meet all of some conditions; a run of rows
    [start, stop); the rows whose positions a side file lists. With none of them, all
    rows. They come in the parent's order, sorted by `order` (column, falling, nulls
    first) before that.
    """

    where: tuple[Where, ...] = ()
    run: tuple[int, int] | None = None
    side_file: str | None = None
    order: tuple[tuple[str, bool, bool], ...] = ()


@dataclass(frozen=True)
class Origins:
    """Where the child's leaf columns come from."""

    #: Child's column: the parent's column that holds its values.
    parent: Mapping[str, str]
    #: Columns that number the child's rows: the first number.
    numbered: Mapping[str, int] = field(default_factory=dict)
    #: Columns that the side file holds.
    side: Sequence[str] = ()


def rebuild_query(
    files: Files, child: Table, parent: Table, origins: Origins, selection: ChosenRows
) -> str:
    """Return a SELECT that gives the child's rows, columns and types, in its order.

    Structs come as structs: null where the parent's struct of that path is, else where
    all their fields are null. Paths are those of the catalogue. Raises
    ValueError if a value has no notation in SQL, OSError or an Arrow error if a footer
    cannot be read.
    """
    needed = list(dict.fromkeys(origins.parent.values()))
    asked = [where.column for where in selection.where]
    asked += [name for name, *_ in selection.order]
    needed = list(dict.fromkeys([*needed, *asked]))
    listed = not selection.where or any(where.listed for where in selection.where)
    by_position = bool(selection.order) or (listed and selection != ChosenRows())
    rows = source(files, parent, needed, positions=by_position)
    order = _order(rows, selection)
    count = (
        f"row_number() OVER ({order.strip()}) - 1"
        if selection.side_file is None
        else "s.winnow_row"
    )
    leaves = {
        column.name: _leaf(column, parent, origins, rows, count)
        for column in child.columns
    }
    columns = _nested(leaf_paths(files, child), leaves, _presence(child, rows, origins))
    return f"SELECT {', '.join(columns)} FROM {_chosen(rows, selection)}{order}"


def _order(rows: Source, selection: ChosenRows) -> str:
    """Return what sorts the chosen rows where DuckDB may give them in another order.

    It does so with the rows of several files, and with those that it looks up in a
    list: measured on 2.0.0 with several row groups, in more than half of the tries.
    """
    if selection.side_file is not None:
        return " ORDER BY s.winnow_row"
    if selection.order:
        keys = [
            f"{rows.columns[name]}{' DESC' if falling else ''} NULLS "
            f"{'FIRST' if first else 'LAST'}"
            for name, falling, first in selection.order
        ]
        return f" ORDER BY {', '.join([*keys, str(rows.position)])}"
    listed = any(where.listed for where in selection.where)
    return f" ORDER BY {rows.position}" if rows.unordered or listed else ""


def _chosen(rows: Source, selection: ChosenRows) -> str:
    if selection.side_file is not None:
        options = f"{without_folders(selection.side_file)}, {_SIDE_ORDER} = true"
        side = f"read_parquet({literal(selection.side_file)}{options})"
        return (
            f"{rows.sql} JOIN (SELECT * RENAME ({_SIDE_ORDER} AS winnow_row)"
            f" FROM {side}) AS s ON {rows.position} = s.{SIDE_POSITION}"
        )
    if selection.run is not None:
        start, stop = selection.run
        if start == stop:
            return f"{rows.sql} WHERE false"
        return f"{rows.sql} WHERE {rows.position} BETWEEN {start} AND {stop - 1}"
    if selection.where:
        conditions = (_condition(rows, where) for where in selection.where)
        return f"{rows.sql} WHERE {' AND '.join(conditions)}"
    return rows.sql


def _condition(rows: Source, where: Where) -> str:
    column = rows.columns[where.column]
    if where.bounds is not None:
        low, high = map(sql_value, where.bounds)
        return f"{column} BETWEEN {low} AND {high}"
    values = [sql_value(value) for value in where.values]
    if not values:
        return f"{column} IS NULL"
    if len(values) == 1:
        return f"{column} = {values[0]}"
    return f"{column} IN ({', '.join(values)})"


def _leaf(
    column: Column, parent: Table, origins: Origins, rows: Source, count: str
) -> str:
    """Return the value of a leaf column of the child, in its type."""
    if column.name in origins.parent:
        held = origins.parent[column.name]
        expression = rows.columns[held]
        same = value_type(parent.column(held).type) == value_type(column.type)
    elif column.name in origins.numbered:
        expression, same = f"{count} + {origins.numbered[column.name]}", False
    else:
        expression, same = f"s.{sql_name(column.name)}", True
    target = sql_type(column.type)
    return expression if same or target is None else f"CAST({expression} AS {target})"


def _presence(
    child: Table, rows: Source, origins: Origins
) -> Callable[[LeafPath], str | None]:
    """Return what gives the parent's struct that stands for one of the child's."""
    held = {name: tuple(dotted.split(".")) for name, dotted in origins.parent.items()}
    named = {".".join(path): sql for path, sql in rows.structs.items()}

    def struct(path: LeafPath) -> str | None:
        prefix = ".".join(path)
        below = [c.name for c in child.columns if c.name.startswith(f"{prefix}.")]
        around = {".".join(held[n][: len(path)]) for n in below if n in held}
        return named.get(around.pop()) if len(around) == 1 else None

    return struct


def _nested(
    paths: Mapping[str, LeafPath],
    leaves: Mapping[str, str],
    presence: Callable[[LeafPath], str | None],
) -> list[str]:
    """Return the top-level columns, structs put together from their leaves."""
    tops: dict[str, dict[LeafPath, str]] = {}
    for name, path in paths.items():
        tops.setdefault(path[0], {})[path[1:]] = leaves[name]
    named = {name: _struct(inner, (name,), presence) for name, inner in tops.items()}
    return [
        sql if sql.endswith(f".{sql_name(name)}") else f"{sql} AS {sql_name(name)}"
        for name, sql in named.items()
    ]


def _struct(
    inner: Mapping[LeafPath, str],
    around: LeafPath,
    presence: Callable[[LeafPath], str | None],
) -> str:
    if () in inner:
        return inner[()]
    fields: dict[str, dict[LeafPath, str]] = {}
    for path, expression in inner.items():
        fields.setdefault(path[0], {})[path[1:]] = expression
    packed = ", ".join(
        f"{sql_name(name)} := {_struct(below, (*around, name), presence)}"
        for name, below in fields.items()
    )
    struct = presence(around)
    nothing = " AND ".join(
        f"{expression} IS NULL"
        for expression in ([struct] if struct else inner.values())
    )
    return f"CASE WHEN {nothing} THEN NULL ELSE struct_pack({packed}) END"
