"""A table of Parquet parts: one set of columns from the footers of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from winnow.lake.files.files import Entry
from winnow.lake.files.footers import Footer, constant_statistics, merged
from winnow.lake.files.leaves import leaf_columns
from winnow.lake.kernels.families import family
from winnow.lake.kernels.tables import Column, ColumnStatistics, Family, Part

Constants = tuple[tuple[str, pa.Scalar], ...]


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A Parquet file, its footer, and the columns that its path stands for."""

    entry: Entry
    footer: Footer
    constants: Constants = ()

    def part(self) -> Part:
        """Return the file as a part of a table."""
        held = {column.name for column in self.footer.columns}
        return Part(
            path=self.entry.path,
            bytes=self.entry.bytes,
            modified=self.entry.modified,
            row_groups=self.footer.row_groups,
            # What the file itself says of a column counts.
            constants=tuple(c for c in self.constants if c[0] not in held),
            column_bytes=self.footer.column_bytes,
            surveyed_bytes=self.footer.bytes,
        )


def columns_of(
    parts: Sequence[StoredPart], schema: pa.Schema | None = None
) -> tuple[Column, ...]:
    """Return the columns of all parts together, in order of their first appearance.

    With a `schema` (a Delta table's), its columns only. A part may lack columns, and
    may hold them in another width. Raises ValueError if two parts hold values of one
    column that cannot be equal.
    """
    first_seen: dict[str, tuple[Column, Entry]] = {}
    for stored in parts:
        for column in _columns(stored):
            first = first_seen.setdefault(column.name, (column, stored.entry))
            first_seen[column.name] = _both(first, column, stored.entry)
    columns = {name: column for name, (column, _) in first_seen.items()}
    if schema is None:
        return tuple(columns.values())
    return tuple(columns.get(c.name, c) for c in leaf_columns(schema))


def statistics_of(
    parts: Sequence[StoredPart], columns: Sequence[Column]
) -> dict[str, ColumnStatistics]:
    """Return the statistics of these columns over all parts."""
    each = [_statistics(stored, columns) for stored in parts]
    return merged(each) if each else {c.name: ColumnStatistics(0, 0) for c in columns}


def _columns(stored: StoredPart) -> list[Column]:
    held = {column.name for column in stored.footer.columns}
    constant = [
        Column(name, value.type, family(value.type))
        for name, value in stored.constants
        if name not in held
    ]
    return [*stored.footer.columns, *constant]


def _both(
    first: tuple[Column, Entry], column: Column, entry: Entry
) -> tuple[Column, Entry]:
    seen, where = first
    if seen.type == column.type or column.family is Family.NULL:
        return first
    if seen.family is Family.NULL:
        return column, entry
    if seen.family is not column.family:
        raise ValueError(
            f"{entry.name} holds {column.name!r} as {column.type}, "
            f"{where.name} as {seen.type}"
        )
    kind = wider(seen.type, column.type)
    return Column(seen.name, kind, seen.family, seen.metadata), where


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type that holds the values of both, of one family; else the first."""
    schemas = [pa.schema([("", one)]), pa.schema([("", other)])]
    try:
        together = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException:
        return one
    return together.field(0).type


def _statistics(
    stored: StoredPart, columns: Sequence[Column]
) -> Mapping[str, ColumnStatistics]:
    rows = sum(stored.footer.row_groups)
    constants = dict(stored.constants)
    statistics = {}
    for column in columns:
        if column.name in stored.footer.statistics:
            statistics[column.name] = stored.footer.statistics[column.name]
        elif column.name in constants:
            statistics[column.name] = constant_statistics(constants[column.name], rows)
        else:
            statistics[column.name] = ColumnStatistics(rows, nulls=rows)
    return statistics
