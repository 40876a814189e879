"""One pass over a table: sketches of its columns and rows, MinHash values, bounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.arrow_types import is_text
from winnow.lake.kernels import bounds
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.families import unwrapped, value_type
from winnow.lake.kernels.kmv import Builder, Kmv, merged
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.row_hash import hash_rows
from winnow.lake.kernels.tables import ColumnStatistics, Family
from winnow.numeric import permutations

_SCHEME: permutations.Scheme = "affine32"
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
        self._columns, self._bounded = columns, bounded
        self._row_columns = [columns.index(name) for name in rows]
        self._of_column = [
            _Running((name,), sizes.column, sizes.num_perm) for name in columns
        ]
        self._of_rows = _Running(rows, sizes.row, sizes.num_perm) if rows else None
        self._statistics: dict[str, ColumnStatistics] = {}

    def add(
        self, first: int, batch: pa.RecordBatch, families: Sequence[Family]
    ) -> None:
        """Take a block: the position of its first row, its columns and families."""
        hashes = []
        parts = zip(self._columns, batch.columns, families, strict=True)
        for running, (name, array, family) in zip(self._of_column, parts, strict=True):
            hashes.append(hash_values(array, family))
            values = unwrapped(array)
            running.add(hashes[-1], first, values.null_count)
            running.raw |= family is Family.TEXT and not is_text(
                value_type(values.type)
            )
            if name in self._bounded:
                block_statistics = bounds.statistics(values, family)
                before = self._statistics.get(name)
                self._statistics[name] = (
                    before.merged(block_statistics) if before else block_statistics
                )
        if self._of_rows is not None:
            rows = hash_rows([hashes[i] for i in self._row_columns])
            self._of_rows.add(rows, first, 0)

    def sketches(self) -> Iterator[Sketch]:
        """Yield what is known of each column, then of the rows."""
        for name, running in zip(self._columns, self._of_column, strict=True):
            yield running.sketch(name, self._statistics.get(name))
        if self._of_rows is not None:
            yield self._of_rows.sketch(None, None)


class _Running:
    def __init__(self, names: Sequence[str], k: int, num_perm: int) -> None:
        self._builder = Builder(k)
        self._rows = self._nulls = 0
        self._minhash = np.full((1, num_perm), _EMPTY, np.uint32)
        self._salt = np.uint64(_salt(tuple(names)))
        self._factors: Any = _factors(num_perm)
        self.raw = False

    def add(self, hashes: Hashes, first: int, nulls: int) -> None:
        count = len(hashes.hi)
        self._rows, self._nulls = self._rows + count, self._nulls + nulls
        self._builder.add(hashes, first)
        if self._minhash.size and count:
            ends = np.array([0, count])
            salted = hashes.lo ^ self._salt
            permutations.affine32(salted, ends, self._factors, self._minhash, 0, 1)

    def sketch(self, column: str | None, statistics: ColumnStatistics | None) -> Sketch:
        nulls = None if column is None else self._nulls
        kmv = self._builder.sketch()
        minhash = self._minhash[0]
        return Sketch(column, self._rows, nulls, kmv, minhash, statistics, self.raw)


@cache
def _salt(names: tuple[str, ...]) -> int:
    joined = pa.array(["\0".join(names)])
    return int(hash_values(joined, Family.TEXT).lo[0])


@cache
def _factors(num_perm: int) -> Any:
    return permutations.parameters(_SCHEME, num_perm, 1) if num_perm else None
