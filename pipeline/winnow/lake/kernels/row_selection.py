"""Which rows of a parent are a child's rows, in the fewest words.

A rebuild query has to give back the child's rows in the child's order, as often as they
occur there. From the rows' hashes follow the parent's rows to choose from; from the
values of a parent's column, a condition that chooses just those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.lake.kernels.murmur3 import Hashes

Ints = npt.NDArray[np.int64]

#: More values than these make no readable condition.
_MOST_VALUES = 16


class ChildRows:
    """A child's rows by number: equal rows have one number."""

    def __init__(self, rows: Hashes) -> None:
        """Take the hashes (n,) of the child's rows in their order."""
        order = np.lexsort((rows.lo, rows.hi))
        hi, lo = rows.hi[order], rows.lo[order]
        new = np.ones(len(hi), bool)
        new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
        self._hi, self._lo = hi[new], lo[new]
        #: (n,) the number of each row.
        self.numbers = np.empty(len(order), np.int64)
        self.numbers[order] = np.cumsum(new) - 1
        # How many distinct rows share a first half: one, or chance was unlikely.
        runs = np.flatnonzero(np.append(True, self._hi[1:] != self._hi[:-1]))
        self._longest = int(np.diff(np.append(runs, len(self._hi))).max(initial=0))

    def numbers_of(self, rows: Hashes) -> Ints:
        """Return (m,) the number of the child's row equal to each, -1 if none is."""
        numbers = np.full(len(rows.hi), -1)
        first = np.searchsorted(self._hi, rows.hi)
        for step in range(self._longest):
            candidate = np.minimum(first + step, len(self._hi) - 1)
            same = (self._hi[candidate] == rows.hi) & (self._lo[candidate] == rows.lo)
            numbers[same] = candidate[same]
        return numbers


@dataclass(frozen=True)
class Matches:
    """The parent's rows that equal a row of the child.

    child: (n,) numbers of the child's rows in its order. positions: (m,) rising row
    positions in the parent; numbers: (m,) the child's row that each equals. rows: how
    many rows the parent has.
    """

    child: Ints
    positions: Ints
    numbers: Ints
    rows: int

    @property
    def exact(self) -> bool:
        """Whether the matching rows are the child's rows, in its order."""
        return np.array_equal(self.child, self.numbers)

    def block(self) -> tuple[int, int] | None:
        """Return [start, stop) of a run of parent rows that is the child, or None."""
        n = len(self.child)
        if n == 0:
            return None
        last = max(0, len(self.numbers) - n + 1)
        starts = np.flatnonzero(self.numbers[:last] == self.child[0])
        for start in starts[:_MOST_VALUES]:
            run = slice(start, start + n)
            first = int(self.positions[start])
            if self.positions[start + n - 1] == first + n - 1 and np.array_equal(
                self.numbers[run], self.child
            ):
                return first, first + n
        return None

    def sources(self) -> Ints:
        """Return (n,) a parent's row for each row of the child.

        The k-th of equal rows comes from the k-th in the parent, from the first again
        where the child has more of them. Raises ValueError if the parent lacks a row.
        """
        order = np.argsort(self.numbers, kind="stable")
        by_number = np.argsort(self.child, kind="stable")
        distinct = int(self.child.max(initial=-1)) + 1
        there = np.bincount(self.numbers, minlength=distinct)
        if (there[self.child] == 0).any():
            raise ValueError("the parent lacks a row of the child")
        first_there = np.cumsum(there) - there
        first_own = np.searchsorted(self.child[by_number], np.arange(distinct))
        number = self.child[by_number]
        turn = (np.arange(len(by_number)) - first_own[number]) % there[number]
        sources = np.empty(len(by_number), np.int64)
        sources[by_number] = self.positions[order[first_there[number] + turn]]
        return sources


@dataclass(frozen=True)
class Condition:
    """Chooses rows by one column.

    `values`: it equals one of them; `bounds`: it lies between the two, both included;
    neither: it is null.
    """

    values: tuple[pa.Scalar, ...] = ()
    bounds: tuple[pa.Scalar, pa.Scalar] | None = None

    @property
    def length(self) -> int:
        """How hard it is to read: null, one value, a range, several values."""
        if self.bounds is not None:
            return 2
        return len(self.values) if len(self.values) < 2 else 1 + len(self.values)


def condition(column: pa.Array | pa.ChunkedArray, matches: Matches) -> Condition | None:
    """Return what chooses exactly the child's rows, in its order, by one column.

    column: all values of one of the parent's columns. Null, NaN and an infinity are
    never among values or bounds.
    """
    column = _plain(column)
    if column is None:
        return None
    chosen = column.take(pa.array(matches.positions))
    if _has_infinite(chosen):
        return None
    if matches.exact:
        return _just_these(column, chosen)
    return _one_of_several(column, chosen, matches)


def tightest(
    column: pa.Array | pa.ChunkedArray, matches: Matches
) -> tuple[Condition, npt.NDArray[np.bool_]] | None:
    """Return the closest condition that all of the child's rows meet, or None.

    And which of the parent's rows meet it, (rows,).
    """
    column = _plain(column)
    if column is None:
        return None
    chosen = column.take(pa.array(matches.positions))
    if chosen.null_count or _has_infinite(chosen):
        return None
    values = pc.unique(chosen)
    if len(values) <= _MOST_VALUES:
        rule = Condition(values=tuple(values.sort()))
        mask = pc.is_in(column, values)
    elif pa.types.is_boolean(column.type):
        return None
    else:
        low, high = pc.min_max(chosen).values()
        rule = Condition(bounds=(low, high))
        mask = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    return rule, pc.fill_null(mask, False).to_numpy().astype(np.bool_)


def _just_these(column: pa.ChunkedArray, chosen: pa.ChunkedArray) -> Condition | None:
    """Return what holds for the chosen values and for no other of the column."""
    n = len(chosen)
    if chosen.null_count:
        only_nulls = n == chosen.null_count == column.null_count
        return Condition() if only_nulls else None
    values = pc.unique(chosen)
    if len(values) <= _MOST_VALUES and _count(pc.is_in(column, values)) == n:
        return Condition(values=tuple(values.sort()))
    if pa.types.is_boolean(column.type):
        return None
    low, high = pc.min_max(chosen).values()
    inside = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    return Condition(bounds=(low, high)) if _count(inside) == n else None


def _one_of_several(
    column: pa.ChunkedArray, chosen: pa.ChunkedArray, matches: Matches
) -> Condition | None:
    """Return the value whose rows are the child's, where other rows equal some too."""
    n = len(matches.child)
    counted = pc.value_counts(chosen)
    for value in counted.field("values").filter(pc.equal(counted.field("counts"), n)):
        if not value.is_valid:
            continue
        rows = pc.fill_null(pc.equal(chosen, value), False)
        same = np.array_equal(matches.numbers[rows.to_numpy()], matches.child)
        if same and _count(pc.equal(column, value)) == n:
            return Condition(values=(value,))
    return None


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column that conditions can be written for, or None."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    if pa.types.is_floating(kind):
        # −0.0 becomes 0.0, which SQL takes for equal.
        column = pc.add(column, pa.scalar(0.0, column.type))
    return column if _has_literals(kind) else None


def _has_infinite(values: pa.ChunkedArray) -> bool:
    """Whether SQL has no plain notation for one of them."""
    if not pa.types.is_floating(values.type):
        return False
    return not pc.all(pc.is_finite(values), min_count=0).as_py()


def _has_literals(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal128(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_date32(kind)
        or pa.types.is_timestamp(kind)
    )
