"""Several tables read as one, and a table read under other column names.

Both are further entries of the tables that are compared, so that whatever compares,
rebuilds and checks a pair does so for them, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.files.parts import wider
from winnow.lake.kernels.tables import Column, Family, Table

#: Between the names of tables that are read as one.
TOGETHER = " + "


def united(tables: HashedTables, parents: Sequence[int]) -> int:
    """Return the number under which tables are read one after another.

    Their columns are those that all of them have. Raises ValueError if some cannot be
    read as one: a column is called otherwise or holds other values, or a text file has
    other columns.
    """
    lake = [tables.reader.tables[number] for number in parents]
    names = tables.names[parents[0]]
    for number in parents[1:]:
        others = tables.names[number]
        names = {k: n for k, n in names.items() if others.get(k) == n}
    if any(part.dialect for table in lake for part in table.parts):
        if len({(table.format, table.columns, table.forms) for table in lake}) > 1:
            raise ValueError("text files with other columns cannot be read as one")
        columns = list(lake[0].columns)
    else:
        columns = [_common([t.column(n) for t in lake]) for n in names.values()]
    whole = Table(
        name=TOGETHER.join(table.name for table in lake),
        format="parquet_folder",
        location="",
        parts=tuple(part for table in lake for part in table.parts),
        columns=tuple(columns),
        fingerprint=" ".join(table.fingerprint for table in lake),
    )
    return _added(tables, whole, names)


def renamed(tables: HashedTables, table: int, names: Mapping[str, str]) -> int:
    """Return the number under which a table has these names: `{compared: its own}`."""
    return _added(tables, replace(tables.reader.tables[table]), names)


def _added(tables: HashedTables, table: Table, names: Mapping[str, str]) -> int:
    lake, held = tables.reader.tables, tables.names
    if not (isinstance(lake, list) and isinstance(held, list)):
        raise TypeError("the tables are not in lists, which can grow")
    lake.append(table)
    held.append(dict(names))
    return len(lake) - 1


def _common(columns: Sequence[Column]) -> Column:
    """Return a column that holds the values of all."""
    first = next((c for c in columns if c.family is not Family.NULL), columns[0])
    kind = first.type
    for column in columns:
        if column.family is Family.NULL or column.type == kind:
            continue
        if column.family is not first.family:
            raise ValueError(f"{column.name} is {first.family} and {column.family}")
        kind = wider(kind, column.type)
    return Column(first.name, kind, first.family, first.metadata)
