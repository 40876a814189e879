"""Rows of text to the hashes of their shingles, block by block within caches."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from numba.extending import overload

from pipeline.algorithms.dedup import permutations
from pipeline.algorithms.dedup.hash_sets import cleared, insert
from pipeline.algorithms.dedup.lanes import BLOCK, LANES
from pipeline.algorithms.dedup.sha1 import sha1
from pipeline.algorithms.dedup.shingling import code_points, copy, spans, squeeze
from pipeline.algorithms.dedup.xxhash import xxh32, xxh64

TokenHash = Literal["sha1", "xxh32", "xxh64"]
Unit = Literal["word", "char"]

#: Codes that the kernels know the token hashes by.
HASH_CODES: dict[str, int] = {"sha1": 0, "xxh32": 1, "xxh64": 2}

# Text per block: its shingles and hashes then stay in the second-level cache.
_BLOCK_BYTES = 1 << 15
_BLOCK_ROWS = 1 << 12


class Plan(NamedTuple):
    """How rows become hashes: what every kernel here is told."""

    table: npt.NDArray[np.uint8]
    words: bool
    squeeze: bool
    ngram: int
    token_hash: int
    low_half: bool


class _Scratch(NamedTuple):
    text: npt.NDArray[np.uint8]
    units: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    bounds: npt.NDArray[np.int64]


@njit(nogil=True, cache=True)
def _scratch(rows: Any, first: int, last: int) -> _Scratch:
    size = _BLOCK_BYTES
    for i in range(first, last):
        size = max(size, rows.end[i] - rows.start[i])
    # The shortest shingle has one byte; rows of a block add one unit each at their end.
    shingles = size + LANES
    return _Scratch(
        np.zeros(size + _BLOCK_ROWS + BLOCK, dtype=np.uint8),
        np.empty(size + 2, dtype=np.int32),
        np.empty(shingles, dtype=np.int32),
        np.empty(shingles, dtype=np.int32),
        np.empty(shingles, dtype=np.uint64),
        np.empty(_BLOCK_ROWS + 1, dtype=np.int64),
    )


@njit(nogil=True, cache=True)
def _block_end(rows: Any, first: int, last: int) -> int:
    """Return the end of the block that starts at row `first`: at least one row."""
    size, end = 0, first
    while end < last and end - first < _BLOCK_ROWS:
        size += rows.end[end] - rows.start[end]
        if size > _BLOCK_BYTES and end > first:
            break
        end += 1
    return end


@njit(nogil=True, cache=True)
def _hash_block(rows: Any, first: int, last: int, plan: Any, scratch: Any) -> None:
    """Leave the hashes of rows `first` … in `scratch.hashes`, by `scratch.bounds`."""
    at = count = 0
    scratch.bounds[0] = 0
    base = len(rows.data)
    for i in range(first, last):
        if rows.start[i] < base:
            row = rows.data[rows.start[i] : rows.end[i]]
        else:
            row = rows.extra[rows.start[i] - base : rows.end[i] - base]
        begin, units = at, 0
        if plan.squeeze:
            at, units = squeeze(row, plan.table, scratch.text, at, scratch.units)
        else:
            at = copy(row, plan.table, scratch.text, at)
        if not plan.words:
            units = code_points(scratch.text, begin, at, scratch.units)
        count += spans(
            scratch.units,
            units,
            plan.ngram,
            1 if plan.words else 0,
            scratch.offsets[count:],
            scratch.lengths[count:],
        )
        scratch.bounds[i - first + 1] = count
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


def _lower(hashes: Any, a: Any, b: Any, minima: Any, legacy: Any) -> None:
    """Lower the minima by the scheme that fits their type."""
    raise NotImplementedError("compiled code only")


@overload(_lower)
def _lower_compiled(hashes: Any, a: Any, b: Any, minima: Any, legacy: Any) -> Any:
    def narrow(hashes: Any, a: Any, b: Any, minima: Any, legacy: Any) -> None:
        permutations.affine32(hashes, a, b, minima)

    def wide(hashes: Any, a: Any, b: Any, minima: Any, legacy: Any) -> None:
        if legacy:
            permutations.legacy(hashes, a, b, minima)
        else:
            permutations.affine64(hashes, a, b, minima)

    return narrow if minima.dtype.bitwidth == 32 else wide


@njit(nogil=True, cache=True)
def sketch_rows(
    rows: Any, first: int, last: int, plan: Any, scheme: Any, out: Any
) -> None:
    """Lower rows `first` … `last` of `out` (n, K) to the minima over their shingles.

    `scheme` is (multipliers, summands, whether they are those of `legacy`).
    """
    a, b, legacy = scheme
    scratch = _scratch(rows, first, last)
    while first < last:
        end = _block_end(rows, first, last)
        _hash_block(rows, first, end, plan, scratch)
        for i in range(end - first):
            hashes = scratch.hashes[scratch.bounds[i] : scratch.bounds[i + 1]]
            if len(hashes):
                _lower(hashes, a, b, out[first + i], legacy)
        first = end


@njit(nogil=True, cache=True)
def distinct_hashes(
    rows: Any, first: int, last: int, plan: Any, counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """Return the sets of rows `first` … `last` one after the other.

    Writes their sizes to `counts[first:last]`.
    """
    scratch = _scratch(rows, first, last)
    table = np.zeros(64, dtype=np.uint64)
    out = np.empty(1024, dtype=np.uint64)
    size = 0
    while first < last:
        end = _block_end(rows, first, last)
        _hash_block(rows, first, end, plan, scratch)
        added = scratch.bounds[end - first]
        # One more: a repeated hash is written before it is found to be one.
        if size + added >= len(out):
            larger = np.empty(2 * (size + added) + 1, dtype=np.uint64)
            larger[:size] = out[:size]
            out = larger
        for i in range(end - first):
            hashes = scratch.hashes[scratch.bounds[i] : scratch.bounds[i + 1]]
            table, mask = cleared(table, len(hashes))
            before = size
            for j in range(len(hashes)):
                out[size] = hashes[j]
                size += 1 if insert(table, mask, hashes[j]) else 0
            counts[first + i] = size - before
        first = end
    return out[:size]
