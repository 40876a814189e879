"""Which rows of one table occur in another: exact, by their 128-bit hashes.

Two row sets are compared by sorting each once and walking both. The hash stands for
the row: see `canonical` for the probability that two rows share one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.lake.kernels.kmv import Kmv
from winnow.lake.kernels.murmur3 import Hashes
from winnow.numeric.compiled import compiled

#: A position after every row's.
NOWHERE = np.int64(2**63 - 1)


class RowSet(NamedTuple):
    """Distinct rows of a table, ascending by (hi, lo), all `(m,)`."""

    hi: npt.NDArray[np.uint64]
    lo: npt.NDArray[np.uint64]
    #: Where the row occurs first, and how often it occurs.
    position: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.int64]


class Verdict(NamedTuple):
    """How much of a child its parent holds; adds up over a partition of the hashes."""

    #: Rows of the child, and distinct ones among them.
    rows: int
    distinct: int
    #: Distinct rows that the parent lacks.
    missing: int
    #: Σ min(times in the child, times in the parent): the child's rows found again,
    #: each row of the parent used once.
    matched: int
    #: First row of the child that the parent lacks, and first that it has less often
    #: than the child (lacks included); NOWHERE if there is none.
    first_missing: int
    first_scarcer: int


def row_set(
    hashes: Hashes,
    position: npt.NDArray[np.int64],
    repeats: npt.NDArray[Any] | None = None,
) -> RowSet:
    """Return the distinct rows among rows that stand for `repeats` (or one) each."""
    count = len(position)
    rows = RowSet(
        np.empty(count, np.uint64),
        np.empty(count, np.uint64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
    )
    times = np.ones(count, np.int64) if repeats is None else repeats
    kept = _distinct(
        hashes, (position, times.astype(np.int64)), np.argsort(hashes.hi), rows
    )
    return RowSet(*(column[:kept].copy() for column in rows))  # type: ignore[arg-type]


def no_rows() -> RowSet:
    """Return the rows of an empty table."""
    hashes, numbers = np.empty(0, np.uint64), np.empty(0, np.int64)
    return RowSet(hashes, hashes, numbers, numbers)


def of_sketch(kmv: Kmv) -> RowSet:
    """Return the rows that a sketch keeps."""
    return RowSet(kmv.hi, kmv.lo, kmv.position, kmv.repeats)


def compare(child: RowSet, parent: RowSet) -> Verdict:
    """Look every row of `child` up in `parent`."""
    counts = _compare(child, parent)
    return Verdict(int(child.repeats.sum()), len(child.hi), *counts)


class Index:
    """A hash table over rows that are sought in other tables."""

    def __init__(self, rows: RowSet) -> None:
        slots = 1 << (2 * len(rows.hi)).bit_length()
        self._rows = rows
        self._slots = np.full(slots, -1, np.int64)
        _fill(rows, self._slots)

    def count(self, hashes: Hashes, counts: npt.NDArray[np.int64]) -> None:
        """Add to `counts[i]` how often the i-th row occurs among `hashes`."""
        _count(self._rows, self._slots, hashes, counts)


@compiled
def _distinct(hashes: Any, places: Any, order: Any, rows: Any) -> Any:
    """Write the distinct rows, from an order of ascending `hi`; return their number."""
    hi, lo = hashes
    position, times = places
    kept, first = 0, 0
    for i in range(len(order)):
        row = order[i]
        if kept == 0 or rows[0][kept - 1] != hi[row]:
            first = kept  # of the rows with this `hi`, nearly always one
        slot = first
        while slot < kept and rows[1][slot] < lo[row]:
            slot += 1
        if slot < kept and rows[1][slot] == lo[row]:
            rows[2][slot] = min(rows[2][slot], position[row])
            rows[3][slot] += times[row]
            continue
        for k in range(kept, slot, -1):
            rows[1][k], rows[2][k] = rows[1][k - 1], rows[2][k - 1]
            rows[3][k] = rows[3][k - 1]
        rows[0][kept] = hi[row]
        rows[1][slot], rows[2][slot], rows[3][slot] = lo[row], position[row], times[row]
        kept += 1
    return kept


@compiled
def _compare(child: Any, parent: Any) -> Any:
    missing, matched, held = 0, 0, 0
    first_missing, first_scarcer = NOWHERE, NOWHERE
    for i in range(len(child[0])):
        hi, lo = child[0][i], child[1][i]
        while held < len(parent[0]) and (parent[0][held], parent[1][held]) < (hi, lo):
            held += 1
        times = 0
        if held < len(parent[0]) and parent[0][held] == hi and parent[1][held] == lo:
            times = parent[3][held]
        else:
            missing += 1
            first_missing = min(first_missing, child[2][i])
        if times < child[3][i]:
            first_scarcer = min(first_scarcer, child[2][i])
        matched += min(times, child[3][i])
    return missing, matched, first_missing, first_scarcer


@compiled(inline="always")
def _slot(rows: Any, slots: Any, hi: Any, lo: Any) -> Any:
    last = uint64(len(slots) - 1)
    slot = lo & last
    while slots[slot] >= 0 and (
        rows[0][slots[slot]] != hi or rows[1][slots[slot]] != lo
    ):
        slot = (slot + uint64(1)) & last
    return slot


@compiled
def _fill(rows: Any, slots: Any) -> None:
    for i in range(len(rows[0])):
        slots[_slot(rows, slots, rows[0][i], rows[1][i])] = i


@compiled
def _count(rows: Any, slots: Any, hashes: Any, counts: Any) -> None:
    if len(rows[0]) == 0:
        return
    greatest = rows[0][-1]
    for i in range(len(hashes[0])):
        if hashes[0][i] <= greatest:
            row = slots[_slot(rows, slots, hashes[0][i], hashes[1][i])]
            if row >= 0:
                counts[row] += 1
