"""Rows of text to the hashes of their shingles, block by block within caches."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from winnow.algorithms.dedup.hash_sets import cleared, insert
from winnow.algorithms.dedup.lanes import BLOCK, LANES
from winnow.algorithms.dedup.punctuation import drop_conditional
from winnow.algorithms.dedup.sha1 import sha1
from winnow.algorithms.dedup.shingling import (
    code_points,
    copy,
    is_ascii,
    spans,
    translate,
    whiten,
)
from winnow.algorithms.dedup.spaceless_scripts import mixed_units, unit_spans
from winnow.algorithms.dedup.whitespace import squeeze
from winnow.algorithms.dedup.xxhash import xxh32, xxh64
from winnow.numeric import permutations
from winnow.numeric.compiled import compiled

TokenHash = Literal["sha1", "xxh32", "xxh64"]
Unit = Literal["word", "char", "auto"]

#: Codes that the kernels know the token hashes by.
HASH_CODES: dict[str, int] = {"sha1": 0, "xxh32": 1, "xxh64": 2}

# Text per block: its shingles and hashes then stay in the second-level cache.
_BLOCK_BYTES = 1 << 15
_BLOCK_ROWS = 1 << 12


class HashingPlan(NamedTuple):
    """How rows become hashes: what every kernel here is told.

    `table` is what each byte becomes, empty where that is itself; `punctuation` whether
    signs are dropped by what stands beside them; `words` whether units are words, which
    are cut further with `auto` where a script has no spaces; `size` is the units per
    shingle and the bytes between units.
    """

    table: npt.NDArray[np.uint8]
    punctuation: bool
    words: bool
    auto: bool
    squeeze: bool
    size: tuple[int, int]
    token_hash: int
    low_half: bool


class _Scratch(NamedTuple):
    raw: npt.NDArray[np.uint8]
    raw_bounds: npt.NDArray[np.int64]
    text: npt.NDArray[np.uint8]
    units: npt.NDArray[np.int32]
    unit_ends: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    bounds: npt.NDArray[np.int64]


@compiled
def _scratch(rows: Any, first: int, last: int, squeeze: bool) -> _Scratch:
    size = _BLOCK_BYTES
    for i in range(first, last):
        size = max(size, rows.end[i] - rows.start[i])
    # The shortest shingle has one byte.
    shingles = size + LANES
    raw = np.zeros(size + BLOCK, dtype=np.uint8)
    return _Scratch(
        raw,
        np.zeros(_BLOCK_ROWS + 1, dtype=np.int64),
        np.zeros(size + BLOCK, dtype=np.uint8) if squeeze else raw,
        np.empty(size + 2, dtype=np.int32),
        np.empty(size + 2, dtype=np.int32),
        np.zeros((_BLOCK_ROWS, 2), dtype=np.int32),
        np.empty(shingles, dtype=np.int32),
        np.empty(shingles, dtype=np.int32),
        np.empty(shingles, dtype=np.uint64),
        np.zeros(_BLOCK_ROWS + 1, dtype=np.int64),
    )


@compiled
def _block_end(rows: Any, first: int, last: int) -> int:
    """Return the end of the block that starts at row `first`: at least one row."""
    size, end = 0, first
    while end < last and end - first < _BLOCK_ROWS:
        size += rows.end[end] - rows.start[end]
        if size > _BLOCK_BYTES and end > first:
            break
        end += 1
    return end


@compiled
def _gather(rows: Any, first: int, last: int, plan: Any, scratch: Any) -> None:
    """Bring the bytes of rows `first` … `last` to `scratch.raw`, by its bounds."""
    filled, base = 0, len(rows.data)
    for i in range(first, last):
        start, size = rows.start[i], rows.end[i] - rows.start[i]
        if start < base:
            copy(rows.data, start, size, scratch.raw, filled)
        else:
            copy(rows.extra, start - base, size, scratch.raw, filled)
        filled += size
        scratch.raw_bounds[i - first + 1] = filled
    if len(plan.table):
        translate(scratch.raw, filled, plan.table)
    if plan.punctuation:
        for i in range(last - first):
            start, end = scratch.raw_bounds[i], scratch.raw_bounds[i + 1]
            # Others were changed with all that they may need beside them in view.
            if is_ascii(scratch.raw, start, end):
                drop_conditional(scratch.raw, start, end)


@compiled
def _cut(count: int, plan: Any, scratch: Any) -> int:
    """Cut `count` gathered rows into shingles; return how many there are.

    The shingles of row i are from `scratch.bounds[i]` to the next.
    """
    raw, text, units = scratch.raw, scratch.text, scratch.units
    filled = shingles = 0
    for i in range(count):
        start, end = scratch.raw_bounds[i], scratch.raw_bounds[i + 1]
        unit_count = singles = 0
        ascii_only = is_ascii(raw, start, end)
        if plan.squeeze:
            if not ascii_only:
                whiten(raw, start, end)
            begin = filled
            filled, unit_count = squeeze(raw, start, end, text, filled, units)
            start, end = begin, filled
        if not plan.words:
            unit_count = code_points(text, start, end, units)
        elif plan.auto and not ascii_only:
            filled, mixed, singles = mixed_units(
                text, start, end, units, scratch.unit_ends
            )
            unit_count = mixed if singles else unit_count
        if singles:
            shingles = unit_spans(
                units,
                scratch.unit_ends,
                (unit_count, plan.size[0]),
                scratch.offsets,
                scratch.lengths,
                shingles,
            )
        else:
            shingles = spans(
                units, unit_count, plan.size, scratch.offsets, scratch.lengths, shingles
            )
        scratch.counts[i, 0], scratch.counts[i, 1] = unit_count, singles
        scratch.bounds[i + 1] = shingles
    return shingles


@compiled
def _hash_block(rows: Any, first: int, last: int, plan: Any, scratch: Any) -> None:
    """Leave the hashes of rows `first` … in `scratch.hashes`, by `scratch.bounds`."""
    # All rows are copied before the first is read again: reading what is still in the
    # processor's store queue would stall it.
    _gather(rows, first, last, plan, scratch)
    count = _cut(last - first, plan, scratch)
    for i in range(count, count + -count % LANES):
        scratch.offsets[i] = scratch.lengths[i] = 0
    if plan.token_hash == 0:
        sha1(scratch.text, scratch.offsets, scratch.lengths, count, scratch.hashes)
    elif plan.token_hash == 1:
        xxh32(scratch.text, scratch.offsets, scratch.lengths, count, scratch.hashes)
    else:
        xxh64(scratch.text, scratch.offsets, scratch.lengths, count, scratch.hashes)
    if plan.low_half:
        for i in range(count):
            scratch.hashes[i] &= np.uint64(0xFFFFFFFF)


def _lower(
    scratch: Any, factors: Any, out: Any, first: Any, last: Any, legacy: Any
) -> None:
    """Lower rows of `out` by the scheme that fits their type."""
    raise NotImplementedError("compiled code only")


@overload(_lower)
def _lower_compiled(
    scratch: Any, factors: Any, out: Any, first: Any, last: Any, legacy: Any
) -> Any:
    def narrow(
        scratch: Any, factors: Any, out: Any, first: Any, last: Any, legacy: Any
    ) -> None:
        permutations.affine32(scratch.hashes, scratch.bounds, factors, out, first, last)

    def wide(
        scratch: Any, factors: Any, out: Any, first: Any, last: Any, legacy: Any
    ) -> None:
        if legacy:
            permutations.legacy(
                scratch.hashes, scratch.bounds, factors, out, first, last
            )
        else:
            permutations.affine64(
                scratch.hashes, scratch.bounds, factors, out, first, last
            )

    return narrow if out.dtype.bitwidth == 32 else wide


@compiled
def sketch_rows(
    rows: Any, first: int, last: int, plan: Any, scheme: Any, out: Any
) -> None:
    """Lower rows `first` … `last` of a sketch to the minima over their shingles.

    `scheme` is (multipliers, summands, whether they are those of `legacy`). `out` is
    the sketches (n, K), and an (n, 2) array that takes how many units a row has and how
    many of them are single characters of a script without spaces.
    """
    a, b, legacy = scheme
    values, counts = out
    scratch = _scratch(rows, first, last, plan.squeeze)
    while first < last:
        end = _block_end(rows, first, last)
        _hash_block(rows, first, end, plan, scratch)
        _lower(scratch, (a, b), values, first, end, legacy)
        for i in range(end - first):
            counts[first + i, 0] = scratch.counts[i, 0]
            counts[first + i, 1] = scratch.counts[i, 1]
        first = end


@compiled
def distinct_hashes(
    rows: Any, first: int, last: int, plan: Any, counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """Return the sets of rows `first` … `last` one after the other.

    Writes their sizes to `counts[first:last]`.
    """
    scratch = _scratch(rows, first, last, plan.squeeze)
    table = np.zeros(64, dtype=np.uint64)
    size = 0
    for row in range(first, last):  # not `sum()`, with which SciPy would be loaded
        size += rows.end[row] - rows.start[row]
    # A guess: few words are shorter than four letters and a space.
    out = np.empty(size // 5 + 1 if plan.words else size + 1, dtype=np.uint64)
    size = 0
    while first < last:
        end = _block_end(rows, first, last)
        _hash_block(rows, first, end, plan, scratch)
        bounds, hashes = scratch.bounds, scratch.hashes
        # One more: a repeated hash is written before it is found to be one.
        room = size + bounds[end - first] + 1
        if room > len(out):
            larger = np.empty(2 * room, dtype=np.uint64)
            larger[:size] = out[:size]
            out = larger
        for i in range(end - first):
            table, mask = cleared(table, bounds[i + 1] - bounds[i])
            before = size
            for j in range(bounds[i], bounds[i + 1]):
                out[size] = hashes[j]
                size += 1 if insert(table, mask, hashes[j]) else 0
            counts[first + i] = size - before
        first = end
    return out[:size]
