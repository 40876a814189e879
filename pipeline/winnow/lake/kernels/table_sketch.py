"""One pass over a table: sketches of its columns and rows, MinHash values, bounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.arrow_types import is_text
from winnow.lake.kernels import bounds
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.families import value_type
from winnow.lake.kernels.hashed_columns import (
    HashedColumn,
    RowHasher,
    hashed_column,
    runs_of,
)
from winnow.lake.kernels.kmv import Builders, Kmv, Stack, merged, stacked
from winnow.lake.kernels.tables import ColumnStatistics, Family
from winnow.numeric import permutations

_SCHEME: permutations.Scheme = "affine32"
#: Values whose hashes, 16 bytes each, are kept until sketches take them.
_AT_HAND = 1 << 14
_EMPTY = permutations.STORED[_SCHEME][1]


class Sizes(NamedTuple):
    """Sizes of sketches; 0 for none."""

    #: Hashes kept of a column, and of the rows.
    column: int
    row: int
    #: MinHash values.
    num_perm: int


class Sketch(NamedTuple):
    """What is kept of a column or, without a name, of the rows."""

    column: str | None
    rows: int
    nulls: int | None
    kmv: Kmv
    #: datasketch's `affine32` values `(num_perm,)` of the set of values; column names
    #: take part, so that equal values below other names are not alike.
    minhash: npt.NDArray[np.uint32]
    statistics: ColumnStatistics | None
    #: Whether the column is text of which not all is UTF-8, so that it came as bytes.
    raw: bool = False


class SketchesOfTable(NamedTuple):
    """What is kept of several columns of a table, or without a name of its rows.

    Each as in `Sketch`; a list, or an array, has one entry a column.
    """

    columns: Sequence[str | None]
    rows: int
    nulls: Sequence[int | None]
    stack: Stack
    minhash: npt.NDArray[np.uint32]
    statistics: Sequence[ColumnStatistics | None]
    raw: Sequence[bool]

    @classmethod
    def of_one(cls, sketch: Sketch) -> SketchesOfTable:
        """Return one sketch by itself."""
        return cls(
            [sketch.column],
            sketch.rows,
            [sketch.nulls],
            stacked([sketch.kmv]),
            sketch.minhash[np.newaxis],
            [sketch.statistics],
            [sketch.raw],
        )


def merge(parts: Sequence[Sketch], sizes: Sizes) -> Sketch:
    """Return the sketch of a column (or of the rows) from those of parts of a table."""
    column, nulls = parts[0].column, [part.nulls for part in parts]
    statistics = parts[0].statistics
    for part in parts[1:]:
        if statistics is not None and part.statistics is not None:
            statistics = statistics.merged(part.statistics)
    return Sketch(
        column,
        sum(part.rows for part in parts),
        None if None in nulls else sum(n for n in nulls if n is not None),
        merged(
            [part.kmv for part in parts], sizes.row if column is None else sizes.column
        ),
        np.minimum.reduce([part.minhash for part in parts]),
        statistics,
        any(part.raw for part in parts),
    )


class TableSketcher:
    """Takes a table's blocks in any order and gives its sketches.

    `columns` are compared names; the rows are sketched over `rows`, some of them in
    the order in which rows are hashed. Bounds are found of the columns in `bounded`.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[str],
        bounded: Collection[str],
        sizes: Sizes,
    ) -> None:
        self._bounded, self._of_row = frozenset(bounded), len(rows)
        places = {name: i for i, name in enumerate(columns)}
        ordered = dict.fromkeys([*rows, *columns])
        #: The columns that rows consist of come first, in the order of rows' hashes.
        self._order = [places[name] for name in ordered]
        self._columns = [*ordered]
        names = [(name,) for name in self._columns]
        self._of_columns = _Running(names, sizes.column, sizes.num_perm)
        self._of_rows = _Running([rows], sizes.row, sizes.num_perm) if rows else None
        self._rows = 0
        self._nulls = [0] * len(columns)
        self._raw = [False] * len(columns)
        self._statistics: dict[str, ColumnStatistics] = {}

    def add(
        self, first: int, batch: pa.RecordBatch, families: Sequence[Family]
    ) -> None:
        """Take a block: the position of its first row, its columns and families."""
        self._rows += len(batch)
        row_hashes = RowHasher(len(batch)) if self._of_row else None
        waiting: list[HashedColumn] = []
        for i, number in enumerate(self._order):
            array, family = batch.column(number), families[number]
            column = hashed_column(array, family)
            self._see(i, column, array, family)
            if row_hashes is not None and i < self._of_row:
                row_hashes.absorb(column)
            waiting.append(column)
            # Hashes of many rows are used while they are at hand.
            if len(waiting) * len(batch) >= _AT_HAND:
                self._of_columns.add(waiting, i + 1 - len(waiting), first)
                waiting = []
        self._of_columns.add(waiting, len(self._order) - len(waiting), first)
        if self._of_rows is not None and row_hashes is not None:
            self._of_rows.add([HashedColumn(row_hashes.finished())], 0, first)

    def _see(
        self, i: int, column: HashedColumn, array: pa.Array, family: Family
    ) -> None:
        """Take in what is told of a column's values besides their hashes."""
        name, values = self._columns[i], column.values
        nulls = array.null_count if column.coded else values.null_count
        self._nulls[i] += nulls
        if family is Family.TEXT:
            self._raw[i] |= not is_text(value_type(values.type))
        if name in self._bounded:
            told = bounds.statistics(values, family)
            if column.coded:
                told = replace(told, rows=len(array), nulls=nulls)
            before = self._statistics.get(name)
            self._statistics[name] = before.merged(told) if before else told

    def sketches(self) -> Iterator[SketchesOfTable]:
        """Yield what is known of the columns together, then of the rows."""
        told = self._of_columns.sketches()
        statistics = [self._statistics.get(name) for name in self._columns]
        columns, nulls = self._columns, self._nulls
        yield SketchesOfTable(columns, self._rows, nulls, *told, statistics, self._raw)
        if self._of_rows is not None:
            told = self._of_rows.sketches()
            yield SketchesOfTable([None], self._rows, [None], *told, [None], [False])


class _Running:
    """Sketches and MinHash values of several sets of values, as far as they are read.

    names: of the columns that each of them is of.
    """

    def __init__(self, names: Sequence[Sequence[str]], k: int, num_perm: int) -> None:
        self._builders = Builders(len(names), k)
        self._minhash = np.full((len(names), num_perm), _EMPTY, np.uint32)
        joined_names = pa.array(["\0".join(one) for one in names], pa.string())
        self._salts = hash_values(joined_names, Family.TEXT).lo
        self._factors: Any = _factors(num_perm)

    def add(self, columns: Sequence[HashedColumn], number: int, first: int) -> None:
        """Take a block of some sets, the first of them the one of this number."""
        if not columns:
            return
        runs = runs_of(columns, number)
        salts = self._salts if self._minhash.size else self._salts[:0]
        # A value that was seen before has had its share in the least ones.
        halves, ends = self._builders.add_runs(runs, first, salts)
        if ends[-1]:
            last = number + len(columns)
            permutations.affine32(
                halves, ends, self._factors, self._minhash, number, last
            )

    def sketches(self) -> tuple[Stack, npt.NDArray[np.uint32]]:
        """Return them in the order of the names."""
        return self._builders.sketches(), self._minhash


@cache
def _factors(num_perm: int) -> Any:
    return permutations.parameters(_SCHEME, num_perm, 1) if num_perm else None
