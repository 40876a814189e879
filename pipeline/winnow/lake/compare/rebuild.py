"""How a contained table is had back from its parent.

Rows are matched by their 128-bit hashes, so what is held in memory is hashes of the
child's rows (16 bytes a row), positions of the parent's rows that equal one of them,
and a few columns of the parent at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.run_folder import replace
from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.compare.row_choice import RowChoice, leaf_batches
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.files.files import Files
from winnow.lake.files.rebuild_sql import (
    SIDE_POSITION,
    ChosenRows,
    Origins,
    rebuild_query,
)
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.families import comparable, value_type
from winnow.lake.kernels.murmur3 import Hashes, joined
from winnow.lake.kernels.row_selection import (
    ChildRows,
    Matches,
)
from winnow.lake.kernels.tables import Family, Table

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rebuild:
    """A query that gives a table back, and the file it reads beside the parent."""

    sql: str
    side_file: str | None = None
    side_bytes: int = 0


def query_by_side_file(
    tables: HashedTables, child: int, parent: int, side_file: str
) -> str:
    """Return the query that any contained table can be had back by; reads footers only.

    The side file is what `describe` would write if it found no simpler way: it lists
    the parent's row of each row of the child, and the child's ignored columns. Raises
    what `rebuild_query` raises.
    """
    matched = _matched(tables, child, parent)
    lake = tables.reader.tables
    side = [c.name for c in lake[child].columns if c.name not in matched]
    selection = ChosenRows(side_file=side_file)
    origins = Origins(matched, side=side)
    return rebuild_query(
        files_of(tables), lake[child], lake[parent], origins, selection
    )


def describe(
    tables: HashedTables,
    child: int,
    parent: int,
    side_file: str | os.PathLike[str],
    hashes: RowHashes | None = None,
) -> Rebuild:
    """Return the simplest query that gives the child back, rows in their order.

    Looked for in turn: all rows of the parent; a condition on one of its columns; a run
    of its rows; conditions on up to three; the same, sorted by up to three columns;
    else rows by position from `side_file`, which is written only then.
    `hashes` are shared where several children are looked for in one parent.
    Ignored columns come from the parent where it holds the same values, are counted
    where they number the rows, and else stand in the side file.

    Raises ValueError if the parent lacks a row of the child, UnreadableTable if either
    cannot be read, and what `rebuild_query` raises.
    """
    search = _Search(hashes or RowHashes(tables), child, parent)
    return search.result(Path(side_file))


def query_of(
    hashes: RowHashes, child: int, parent: int, side_file: str | os.PathLike[str]
) -> str:
    """Return the query that `describe` finds; a side file that it reads is not written.

    Raises what `describe` raises.
    """
    return _Search(hashes, child, parent).query(Path(side_file))


@dataclass
class _Search:
    """The search for one pair of tables."""

    hashes: RowHashes
    child: int
    parent: int
    tables: HashedTables = field(init=False)
    matched: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.tables = self.hashes.tables
        self.matched = _matched(self.tables, self.child, self.parent)

    def result(self, side_file: Path) -> Rebuild:
        sources, origins, selection = self._found(side_file)
        sql = self._sql(origins, selection)
        if selection.side_file is None:
            return Rebuild(sql)
        self._write_side_file(side_file, sources, origins)
        return Rebuild(sql, selection.side_file, side_file.stat().st_size)

    def query(self, side_file: Path) -> str:
        _, origins, selection = self._found(side_file)
        return self._sql(origins, selection)

    def _found(self, side_file: Path) -> tuple[Ints, Origins, ChosenRows]:
        matches = self._matches()
        sources = matches.sources()
        selection = RowChoice(self.tables, self.parent).of(matches)
        ignored = [c.name for c in self._child.columns if c.name not in self.matched]
        origins = self._origins(ignored, sources)
        if selection is None or origins.side:
            selection = ChosenRows(side_file=os.path.abspath(side_file))
        return sources, origins, selection

    def _sql(self, origins: Origins, selection: ChosenRows) -> str:
        files = files_of(self.tables)
        return rebuild_query(files, self._child, self._parent, origins, selection)

    @property
    def _child(self) -> Table:
        return self.tables.reader.tables[self.child]

    @property
    def _parent(self) -> Table:
        return self.tables.reader.tables[self.parent]

    def _matches(self) -> Matches:
        compared = self.tables.names_of(self.child)
        rows = list(self.hashes.of(self.child, compared))
        child = ChildRows(joined([hashes for _, hashes in rows]))
        positions, numbers = [], []
        for first, hashes in self.hashes.of(self.parent, compared):
            child_rows = child.numbers_of(hashes)
            held = np.flatnonzero(child_rows >= 0)
            positions.append(first + held)
            numbers.append(child_rows[held])
        nothing = np.empty(0, np.int64)
        return Matches(
            child.numbers,
            np.concatenate([nothing, *positions]),
            np.concatenate([nothing, *numbers]),
            self._parent.rows,
        )

    def _origins(self, ignored: Iterable[str], sources: Ints) -> Origins:
        parent, numbered, side = dict(self.matched), {}, []
        for name in ignored:
            values = self._child_column(name)
            first = _first_number(values)
            if self._same_in_parent(name, values, sources):
                parent[name] = name
            elif first is not None:
                numbered[name] = first
            else:
                side.append(name)
        return Origins(parent, numbered, side)

    def _same_in_parent(
        self, name: str, values: pa.ChunkedArray, sources: Ints
    ) -> bool:
        held = {column.name: column for column in self._parent.columns}.get(name)
        child_column = self._child.column(name)
        if held is None or not comparable(held.family, child_column.family):
            return False
        rows = self.tables.reader.rows(self.parent, sources, [name])
        return _equal(
            _hashes(values, child_column.family), _hashes(rows.column(0), held.family)
        )

    def _child_column(self, name: str) -> pa.ChunkedArray:
        kind = value_type(self._child.column(name).type)
        batches = leaf_batches(self.tables, self.child, [name])
        tables = [pa.Table.from_batches([batch]) for batch in batches]
        empty = pa.schema([(name, kind)]).empty_table()
        whole = pa.concat_tables(tables or [empty], promote_options="permissive")
        return whole.column(0)

    def _write_side_file(self, path: Path, sources: Ints, origins: Origins) -> None:
        columns = {SIDE_POSITION: pa.array(sources)}
        columns |= {name: self._child_column(name) for name in origins.side}
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".tmp")
        pq.write_table(
            pa.table(columns),
            beside,
            compression="zstd",
            use_dictionary=list(origins.side),
            # Positions mostly rise: their differences are small.
            column_encoding={SIDE_POSITION: "DELTA_BINARY_PACKED"},
        )
        replace(beside, path)


def _matched(tables: HashedTables, child: int, parent: int) -> dict[str, str]:
    """Return the parent's column for each compared column of the child."""
    child_names, held = tables.names[child], tables.names[parent]
    return {name: held[compared] for compared, name in child_names.items()}


def files_of(tables: HashedTables) -> Files:
    """Return what opens the tables' files."""
    return Files(tables.reader.storage_options)


def _hashes(column: pa.ChunkedArray, family: Family) -> Hashes:
    return joined([hash_values(chunk, family) for chunk in column.chunks])


def _equal(one: Hashes, other: Hashes) -> bool:
    return np.array_equal(one.hi, other.hi) and np.array_equal(one.lo, other.lo)


def _first_number(values: pa.ChunkedArray) -> int | None:
    """Return n if the values are n, n + 1, …, as numbers or as their digits."""
    kind = value_type(values.type)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_integer(kind)) or not len(values):
        return None
    first = values[0].as_py()
    if first is None or (text and not (first.isdecimal() and len(first) < 19)):
        return None
    first = int(first)
    if not -(2**62) < first < 2**62:
        return None
    counted = pa.array(np.arange(first, first + len(values)))
    expected = pa.chunked_array([counted.cast(pa.string()) if text else counted])
    family = Family.TEXT if text else Family.NUMBER
    return first if _equal(_hashes(values, family), _hashes(expected, family)) else None
