"""Columns of a block as hashes: of all values, or of each distinct value once.

Texts of a Parquet file mostly are stored as a dictionary and a code for each row. Of a
column of ten million rows and fifty texts, fifty are hashed, ordered and checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from winnow.lake.kernels import murmur3
from winnow.lake.kernels.canonical import (
    hash_values,
    is_null,
    nulls,
    stored_values,
    valid_bits,
)
from winnow.lake.kernels.families import unwrapped
from winnow.lake.kernels.kmv import Runs
from winnow.lake.kernels.murmur3 import Hashes, joined
from winnow.lake.kernels.tables import Family
from winnow.numeric.compiled import compiled


class DictionaryCodes(NamedTuple):
    """Which value of a dictionary each row has."""

    #: Hashes of the whole dictionary and of a null, and (n,) the place of each row's.
    hashes: Hashes
    codes: npt.NDArray[np.int32]
    #: Of each that occurs, `(m,)`: the row where it is first, and how many have it.
    rows: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.int64]


class HashedColumn(NamedTuple):
    """A column of a block: hashes of all values, or of those that occur once each."""

    hashes: Hashes
    #: The values; of a dictionary those that occur, without null.
    values: Any = None
    coded: DictionaryCodes | None = None

    @property
    def length(self) -> int:
        """How many rows the column has."""
        return len(self.hashes.hi if self.coded is None else self.coded.codes)


def hashed_column(array: pa.Array, family: Family) -> HashedColumn:
    """Return the hashes of an array's values as members of `family`."""
    if pt.is_dictionary(array.type) and not array.dictionary.null_count:
        return _of_dictionary(array, family)
    return HashedColumn(hash_values(array, family), unwrapped(array))


def _of_dictionary(array: pa.DictionaryArray, family: Family) -> HashedColumn:
    dictionary = array.dictionary
    size = len(dictionary)
    indices = array.indices.cast(pa.int32())
    codes = stored_values(indices, "i4").copy()
    first, repeats = np.empty(size + 1, np.int64), np.zeros(size + 1, np.int64)
    _count(codes, valid_bits(indices), first, repeats)
    used = np.flatnonzero(repeats)
    hashes = joined([hash_values(dictionary, family), nulls(1)])
    held = used if repeats[size] == 0 else used[:-1]
    if len(held) < size:
        dictionary = dictionary.take(pa.array(held))
    some = Hashes(hashes.hi[used], hashes.lo[used])
    return HashedColumn(
        some, dictionary, DictionaryCodes(hashes, codes, first[used], repeats[used])
    )


@compiled
def _count(codes: Any, valid: Any, first: Any, repeats: Any) -> None:
    """Say of each code where it stands first, and how often it occurs.

    The last one stands for null, and is put there.
    """
    bits, start = valid
    for i in range(len(codes)):
        if is_null(bits, start + i):
            codes[i] = len(repeats) - 1
        code = codes[i]
        if repeats[code] == 0:
            first[code] = i
        repeats[code] += 1


class RowHasher:
    """Takes the columns of n rows one by one and gives the rows' hashes.

    They are those of `row_hash.hash_rows`.
    """

    def __init__(self, count: int) -> None:
        self._state = Hashes(np.zeros(count, np.uint64), np.zeros(count, np.uint64))
        self._columns = 0

    def absorb(self, column: HashedColumn) -> None:
        """Take the next column."""
        self._columns += 1
        if column.coded is None:
            murmur3.absorb(*self._state, *column.hashes)
        else:
            hashes, codes = column.coded.hashes, column.coded.codes
            murmur3.absorb_coded(*self._state, *hashes, codes)

    def finished(self) -> Hashes:
        """Return the hashes `(n,)`; nothing can be taken after that."""
        murmur3.finish(*self._state, self._columns)
        return self._state


def rows_of_columns(columns: Sequence[HashedColumn]) -> Hashes:
    """Return the hashes `(n,)` of rows, as `row_hash.hash_rows` does.

    Raises ValueError without a column.
    """
    if not columns:
        raise ValueError("rows without a column cannot be told apart")
    rows = RowHasher(columns[0].length)
    for column in columns:
        rows.absorb(column)
    return rows.finished()


def runs_of(columns: Sequence[HashedColumn], number: int) -> Runs:
    """Return the hashes of columns, of this number and on, one after another.

    The arrays are copies, but for a single column of which all values are hashed.
    """
    sizes = [len(column.hashes.hi) for column in columns]
    ends = np.zeros(len(columns) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    hashes = (
        columns[0].hashes
        if len(columns) == 1
        else joined([column.hashes for column in columns])
    )
    counted = np.full(len(columns), -1)
    coded, total = [], 0
    for i, column in enumerate(columns):
        if column.coded is not None:
            coded.append(column.coded)
            counted[i] = total
            total += sizes[i]
    if not coded:
        return Runs(hashes, ends, number, counted)
    rows, repeats = (np.concatenate([one[i] for one in coded]) for i in (2, 3))
    return Runs(hashes, ends, number, counted, rows, repeats)
