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
from winnow.lake.kernels.kmv import Builders, Kmv, merged, one_of
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
        names = [(name,) for name in columns]
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
        shape = len(self._columns), len(batch)
        hashes = Hashes(np.empty(shape, np.uint64), np.empty(shape, np.uint64))
        columns = zip(self._columns, batch.columns, families, strict=True)
        for i, (name, array, family) in enumerate(columns):
            hashes.hi[i], hashes.lo[i] = hash_values(array, family)
            values = unwrapped(array)
            self._nulls[i] += values.null_count
            if family is Family.TEXT:
                self._raw[i] |= not is_text(value_type(values.type))
            if name in self._bounded:
                block_statistics = bounds.statistics(values, family)
                before = self._statistics.get(name)
                self._statistics[name] = (
                    before.merged(block_statistics) if before else block_statistics
                )
        if self._of_rows is not None:
            pairs = (Hashes(*(half[i] for half in hashes)) for i in self._row_columns)
            rows = hash_rows(list(pairs))
            self._of_rows.add(Hashes(*(half[np.newaxis] for half in rows)), first)
        self._of_columns.add(hashes, first)

    def sketches(self) -> Iterator[Sketch]:
        """Yield what is known of each column, then of the rows."""
        kept = self._of_columns.sketches()
        told = zip(self._columns, self._nulls, self._raw, kept, strict=True)
        for name, nulls, raw, sketched in told:
            statistics = self._statistics.get(name)
            yield Sketch(name, self._rows, nulls, *sketched, statistics, raw)
        if self._of_rows is not None:
            for sketched in self._of_rows.sketches():
                yield Sketch(None, self._rows, None, *sketched, None)


class _Running:
    """Sketches and MinHash values of several sets of values, as far as they are read.

    names: of the columns that each of them is of.
    """

    def __init__(self, names: Sequence[Sequence[str]], k: int, num_perm: int) -> None:
        self._builders = Builders(len(names), k)
        self._minhash = np.full((len(names), num_perm), _EMPTY, np.uint32)
        self._salts = np.array([[_salt(tuple(one))] for one in names], np.uint64)
        self._factors: Any = _factors(num_perm)

    def add(self, hashes: Hashes, first: int) -> None:
        """Take the hashes `(sets, n)` of a block; their second halves are used up."""
        self._builders.add(hashes, first)
        sets, count = hashes.lo.shape
        if self._minhash.size and count:
            ends = np.arange(sets + 1) * count
            salted = hashes.lo
            salted ^= self._salts
            permutations.affine32(
                salted.reshape(-1), ends, self._factors, self._minhash, 0, sets
            )

    def sketches(self) -> Iterator[tuple[Kmv, npt.NDArray[np.uint32]]]:
        stack = self._builders.sketches()
        for i, minhash in enumerate(self._minhash):
            yield one_of(stack, i), minhash


@cache
def _salt(names: tuple[str, ...]) -> int:
    joined = pa.array(["\0".join(names)])
    return int(hash_values(joined, Family.TEXT).lo[0])


@cache
def _factors(num_perm: int) -> Any:
    return permutations.parameters(_SCHEME, num_perm, 1) if num_perm else None
