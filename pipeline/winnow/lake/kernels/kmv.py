"""Bottom-k sketches: the k smallest distinct hashes of a column or of rows.

One-sided: if A ⊆ B, every hash of A that is not above B's k-th smallest is one of B's
sketch, so a hash that is missing there refutes A ⊆ B for certain, and nothing else is
concluded. Each hash carries the position of the first value that has it (the witness)
and how many have it. Sketches of parts merge into exactly the sketch of the whole.

Sources: K. Beyer et al., "On synopses for distinct-value estimation under multiset
operations" (SIGMOD 2007), section 3 for the estimate, section 5 for the merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.lake.kernels.murmur3 import Hashes
from winnow.numeric.compiled import compiled

_TOP = np.uint64(2**64 - 1)


class Kmv(NamedTuple):
    """A sketch: hashes ascending by (hi, lo), all `(m,)` with m ≤ k."""

    hi: npt.NDArray[np.uint64]
    lo: npt.NDArray[np.uint64]
    #: Position of the first value with this hash.
    position: npt.NDArray[np.int64]
    #: How many values have it.
    repeats: npt.NDArray[np.int64]
    #: Whether no distinct hash was left out.
    complete: bool

    @property
    def distinct(self) -> int:
        """Distinct values: exact where complete, else the estimate (k − 1)/U_k."""
        if self.complete or len(self.hi) < 2:
            return len(self.hi)
        kth = (int(self.hi[-1]) + 1) / 2**64
        return max(round((len(self.hi) - 1) / kth), len(self.hi) + 1)


_NONE = np.empty(0, np.int64)
Halves = npt.NDArray[np.uint64]
_NO_SALTS: Halves = np.empty(0, np.uint64)


class Runs(NamedTuple):
    """Hashes of several columns of a block, one column after another.

    A column's are those of all its values in their order, or of the distinct ones with
    the row where each stands first and how many rows have it.
    """

    hashes: Hashes
    #: The c-th of them has the hashes from `ends[c]` to `ends[c + 1]`.
    ends: npt.NDArray[np.int64]
    #: The first one's number among the columns of the table.
    number: int
    #: Where its rows and counts begin in `rows` and `repeats`; -1 for all values.
    counted: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64] = _NONE
    repeats: npt.NDArray[np.int64] = _NONE


class Fresh(NamedTuple):
    """What values of a block were not seen before, of several columns."""

    #: Second halves of their hashes, one column after another; some twice.
    halves: Halves
    #: The c-th column has those from `ends[c]` to `ends[c + 1]`.
    ends: npt.NDArray[np.int64]


class Builders:
    """Takes hashes of several columns block by block and gives sketches of size `k`.

    One for all columns of a table, since most tables are small: a call for each column
    would take longer than what it does.
    """

    def __init__(self, columns: int, k: int) -> None:
        self._k = k
        self._table, self._values = _slots(columns, 2)
        # Largest first half that may still matter.
        self._limit = np.full(columns, _TOP)
        self._held = np.zeros(columns, np.int64)
        self._complete = np.ones(columns, np.bool_)
        # Hashes that each column was given so far.
        self._given = np.zeros(columns, np.int64)

    def add(self, hashes: Hashes, first: int) -> None:
        """Take the hashes `(columns, n)` of values at positions `first` and on."""
        columns, count = hashes.hi.shape
        flat = Hashes(hashes.hi.reshape(-1), hashes.lo.reshape(-1))
        each = np.full(columns, -1)
        self.add_runs(Runs(flat, np.arange(columns + 1) * count, 0, each), first)

    def add_runs(self, runs: Runs, first: int, salts: Halves = _NO_SALTS) -> Fresh:
        """Take hashes of values, and of distinct ones, at positions `first` and on.

        salts: of each column of the table; none if nothing is to be returned. Returns
        the second halves, combined with the salt, of hashes that may be new.
        """
        count = len(runs.counted)
        new = np.empty(len(runs.hashes.lo) if len(salts) else 0, np.uint64)
        ends = np.empty(count + 1, np.int64)
        state = self._limit, self._held, self._complete, self._given
        fresh = salts, new, ends
        tables = self._table, self._values
        wanted = _insert(runs, first, self._k, tables, state, fresh)
        if wanted:
            self._grow(wanted)
            tables = self._table, self._values
            _insert(runs, first, self._k, tables, state, fresh)
        return Fresh(new, ends)

    def _grow(self, wanted: int) -> None:
        """Have tables of so many places at least."""
        before = self._table, self._values
        slots = 1 << (wanted - 1).bit_length()
        self._table, self._values = _slots(len(self._held), slots)
        if self._held.any():
            _move(*before, self._table, self._values)

    def sketches(self) -> Stack:
        """Return the sketches, one a column, of everything taken so far."""
        sizes = np.minimum(self._held, self._k)
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        hashes = np.empty((2, bounds[-1]), np.uint64)
        values = np.empty((2, bounds[-1]), np.int64)
        _copy_least(self._table, self._values, bounds, hashes, values)
        complete = self._complete & (self._held <= self._k)
        (hi, lo), (position, repeats) = hashes, values
        return Stack(bounds, hi, lo, position, repeats, complete)


def _slots(columns: int, slots: int) -> tuple[Any, Any]:
    """Return empty tables: both halves of hashes, positions and counts."""
    shape = columns, slots
    hashes = np.empty(shape, np.uint64), np.empty(shape, np.uint64)
    return hashes, (np.empty(shape, np.int64), np.zeros(shape, np.int64))


def merged(sketches: Sequence[Kmv], k: int) -> Kmv:
    """Return the sketch of size `k` of several parts' values, from theirs of size k."""
    if len(sketches) == 1:
        return sketches[0]
    hi, lo, position, count = (
        np.concatenate([sketch[i] for sketch in sketches]) for i in range(4)
    )
    order = np.lexsort((position, lo, hi))
    hi, lo, position, count = hi[order], lo[order], position[order], count[order]
    new = np.ones(len(hi), np.bool_)
    new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    starts = np.flatnonzero(new)
    counts = np.add.reduceat(count, starts) if len(starts) else count
    complete = all(sketch.complete for sketch in sketches) and len(starts) <= k
    starts = starts[:k]
    return Kmv(hi[starts], lo[starts], position[starts], counts[:k], complete)


class Stack(NamedTuple):
    """Many sketches one after another: sketch i has `bounds[i]` to `bounds[i + 1]`."""

    bounds: npt.NDArray[np.int64]
    hi: npt.NDArray[np.uint64]
    lo: npt.NDArray[np.uint64]
    position: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.int64]
    complete: npt.NDArray[np.bool_]


def stacked(sketches: Sequence[Kmv]) -> Stack:
    """Put sketches side by side for `compare`."""
    sizes = [len(sketch.hi) for sketch in sketches]
    return Stack(
        np.cumsum([0, *sizes], dtype=np.int64),
        _joined([sketch.hi for sketch in sketches], np.uint64),
        _joined([sketch.lo for sketch in sketches], np.uint64),
        _joined([sketch.position for sketch in sketches], np.int64),
        _joined([sketch.repeats for sketch in sketches], np.int64),
        np.array([sketch.complete for sketch in sketches], np.bool_),
    )


def one_of(stack: Stack, i: int) -> Kmv:
    """Return sketch i."""
    kept = slice(stack.bounds[i], stack.bounds[i + 1])
    return Kmv(
        stack.hi[kept],
        stack.lo[kept],
        stack.position[kept],
        stack.repeats[kept],
        bool(stack.complete[i]),
    )


def _joined(arrays: Sequence[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])


class Compared(NamedTuple):
    """What sketches say of pairs, all `(n,)`."""

    #: Hashes of the child that the parent's sketch would have to hold.
    looked_up: npt.NDArray[np.int64]
    #: How many of them it lacks; above 0, the child is not contained.
    missing: npt.NDArray[np.int64]
    #: The first value of the child that is missing; −1 if none is.
    witness: npt.NDArray[np.int64]


def compare(
    stack: Stack,
    child: npt.NDArray[np.int64],
    parent: npt.NDArray[np.int64],
    bag: bool = False,
) -> Compared:
    """Look up what `child[i]`'s sketch holds in `parent[i]`'s, for each i.

    With `bag`, a hash that the child has more often than the parent is missing, too.
    """
    out = np.zeros((3, len(child)), np.int64)
    out[2] = -1
    _compare(stack, (child, parent), bag, out)
    return Compared(out[0], out[1], out[2])


@compiled(inline="always")
def _slot(table: Any, hi: Any, lo: Any, count: Any) -> Any:
    """Return where a hash is in the open-addressing table, or where it would go."""
    last = uint64(len(count) - 1)
    # `hi` of a kept hash is small, `lo` is anything.
    slot = lo & last
    while count[slot] and (table[0][slot] != hi or table[1][slot] != lo):
        slot = (slot + uint64(1)) & last
    return slot


@compiled
def _insert(runs: Any, first: Any, k: Any, tables: Any, state: Any, fresh: Any) -> Any:
    """Take the hashes of each column; a table that is full is cut to the least k.

    Where they might fill more than half of a table, nothing is taken; returned is how
    many places a table needs, else 0.
    """
    hashes, ends, number, counted, rows, repeats = runs
    table, values = tables
    limit, held, complete, given = state
    salts, new, new_ends = fresh
    wanted = 0
    for run in range(len(counted)):
        size = given[number + run] + ends[run + 1] - ends[run]
        wanted = max(wanted, 2 * min(size, 2 * k))
    if wanted > values[1].shape[1]:
        return wanted
    told, news, new_ends[0] = len(salts) > 0, 0, 0
    for run in range(len(counted)):
        given[number + run] += ends[run + 1] - ends[run]
        c, start = number + run, ends[run]
        slots = table[0][c], table[1][c]
        position, count = values[0][c], values[1][c]
        for i in range(ends[run + 1] - start):
            hi, lo = hashes[0][start + i], hashes[1][start + i]
            is_low = hi <= limit[c]
            slot = _slot(slots, hi, lo, count) if is_low else uint64(0)
            if told and not (is_low and count[slot]):
                new[news] = lo ^ salts[c]
                news += 1
            if not is_low:
                continue
            row, times = first + i, 1
            if counted[run] >= 0:
                row = first + rows[counted[run] + i]
                times = repeats[counted[run] + i]
            if count[slot] == 0:
                slots[0][slot], slots[1][slot], position[slot] = hi, lo, row
                held[c] += 1
            elif row < position[slot]:
                position[slot] = row
            count[slot] += times
            if held[c] >= 2 * k:
                limit[c] = _cut(slots, position, count, k)
                held[c], complete[c] = k, False
        new_ends[run + 1] = news
    return 0


@compiled
def _move(table: Any, values: Any, larger: Any, larger_values: Any) -> None:
    """Put the hashes of each column into a larger table."""
    for c in range(len(values[1])):
        slots, count = (larger[0][c], larger[1][c]), larger_values[1][c]
        for i in range(values[1].shape[1]):
            if values[1][c, i]:
                hi, lo = table[0][c, i], table[1][c, i]
                slot = _slot(slots, hi, lo, count)
                slots[0][slot], slots[1][slot] = hi, lo
                larger_values[0][c, slot] = values[0][c, i]
                count[slot] = values[1][c, i]


@compiled
def _cut(slots: Any, position: Any, count: Any, k: Any) -> Any:
    """Leave the k least hashes in a table; return the first half of the greatest."""
    least = _ordered(slots, count)[:k]
    kept = slots[0][least], slots[1][least]
    positions, counts = position[least], count[least]
    count[:] = 0
    for i in range(k):
        slot = _slot(slots, kept[0][i], kept[1][i], count)
        slots[0][slot], slots[1][slot] = kept[0][i], kept[1][i]
        position[slot], count[slot] = positions[i], counts[i]
    return kept[0][k - 1]


@compiled
def _ordered(slots: Any, count: Any) -> Any:
    """Return where hashes stand in a table, the least first."""
    hi, lo = slots
    # Counted here: NumPy's function has Numba load SciPy's linear algebra.
    used, size = np.empty(len(count), np.int64), 0
    for slot in range(len(count)):
        used[size] = slot
        size += count[slot] > 0
    used = used[:size]
    order = used[np.argsort(hi[used])]
    # First halves are seldom equal.
    for i in range(1, len(order)):
        slot, k = order[i], i
        while k and hi[order[k - 1]] == hi[slot] and lo[order[k - 1]] > lo[slot]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = slot
    return order


@compiled
def _copy_least(table: Any, values: Any, bounds: Any, hashes: Any, kept: Any) -> None:
    """Write the least hashes of each column, ascending, from `bounds[c]` on."""
    for c in range(len(bounds) - 1):
        slots = table[0][c], table[1][c]
        order = _ordered(slots, values[1][c])
        for i in range(bounds[c + 1] - bounds[c]):
            slot, out = order[i], bounds[c] + i
            hashes[0, out], hashes[1, out] = slots[0][slot], slots[1][slot]
            kept[0, out], kept[1, out] = values[0][c, slot], values[1][c, slot]


@compiled
def _compare(stack: Any, pairs: Any, bag: Any, out: Any) -> None:
    bounds, hi, lo, position, count, complete = stack
    for i in range(len(pairs[0])):
        a, end_a = bounds[pairs[0][i]], bounds[pairs[0][i] + 1]
        b, end_b = bounds[pairs[1][i]], bounds[pairs[1][i] + 1]
        whole = complete[pairs[1][i]]
        for sought in range(a, end_a):
            while b < end_b and (hi[b], lo[b]) < (hi[sought], lo[sought]):
                b += 1
            if b == end_b and not whole:
                break
            out[0, i] += 1
            held = b < end_b and hi[b] == hi[sought] and lo[b] == lo[sought]
            if held and not (bag and count[sought] > count[b]):
                continue
            out[1, i] += 1
            if out[2, i] < 0 or position[sought] < out[2, i]:
                out[2, i] = position[sought]
