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


class Builder:
    """Takes hashes block by block and gives their sketch of size `k`."""

    def __init__(self, k: int) -> None:
        self._k = k
        slots = 1 << (4 * k - 1).bit_length()
        self._table = tuple(np.empty(slots, np.uint64) for _ in range(2))
        self._position = np.empty(slots, np.int64)
        self._count = np.zeros(slots, np.int64)
        # Largest first half that may still matter.
        self._limit = _TOP
        self._held = 0
        self._complete = True

    def add(self, hashes: Hashes, first: int) -> None:
        """Take the hashes of values at positions `first`, `first` + 1, …"""
        done = 0
        while done < len(hashes.hi):
            done, self._held = _insert(
                hashes,
                (done, first, self._held, 2 * self._k),
                self._limit,
                self._table,
                (self._position, self._count),
            )
            if self._held >= 2 * self._k:
                self._cut()

    def _cut(self) -> None:
        kept = self.sketch()
        self._complete = kept.complete
        self._limit = kept.hi[-1]
        self._count[:] = 0
        self._held = len(kept.hi)
        _place(
            Hashes(kept.hi, kept.lo),
            (kept.position, kept.repeats),
            self._table,
            (self._position, self._count),
        )

    def sketch(self) -> Kmv:
        """Return the sketch of everything taken so far."""
        used = np.flatnonzero(self._count)
        hi, lo = (half[used] for half in self._table)
        order = np.lexsort((lo, hi))
        complete = self._complete and len(used) <= self._k
        used = used[order[: self._k]]
        hi, lo = (half[used] for half in self._table)
        return Kmv(hi, lo, self._position[used], self._count[used], complete)


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
def _insert(hashes: Any, state: Any, limit: Any, table: Any, values: Any) -> Any:
    """Take hashes until the table is full; return (hashes done, entries held)."""
    done, first, held, most = state
    position, count = values
    for i in range(done, len(hashes[0])):
        hi, lo = hashes[0][i], hashes[1][i]
        if hi > limit:
            continue
        slot = _slot(table, hi, lo, count)
        if count[slot] == 0:
            table[0][slot], table[1][slot], position[slot] = hi, lo, first + i
            held += 1
        elif first + i < position[slot]:
            position[slot] = first + i
        count[slot] += 1
        if held >= most:
            return i + 1, held
    return len(hashes[0]), held


@compiled
def _place(hashes: Any, kept: Any, table: Any, values: Any) -> None:
    position, count = values
    for i in range(len(hashes[0])):
        slot = _slot(table, hashes[0][i], hashes[1][i], count)
        table[0][slot], table[1][slot] = hashes[0][i], hashes[1][i]
        position[slot], count[slot] = kept[0][i], kept[1][i]


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
