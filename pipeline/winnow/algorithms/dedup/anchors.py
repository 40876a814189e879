"""Which windows of a corpus may be repeated: a filter that misses none that is.

Of the grams in a window, half as long as it, the one of the least hash is the window's
anchor, the first of equal ones (winnowing: Schleimer, Wilkerson and Aiken 2003). Equal
windows have their anchor in the same position, so that the anchor of a repeated window
stands in two places. A corpus has some 2/(w + 1) anchors a byte, w grams to a window:
of windows of 200 bytes 51 times fewer than windows. They are counted, none or one or
more, in bits that are chosen by hash: a wrong bit only says yes once too often.

Memory: for each thread four to eight bytes an anchor; and a bit to each byte of text.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.numeric.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# An odd number without a pattern; a window's hash is Σ byte · BASE^k mod 2⁶⁴.
BASE = 0x9E3779B97F4A7C15
_BITS_PER_ANCHOR = 16
# Grams hashed at a time.
_BLOCK = 8192


@compiled
def mixed(value: Any) -> Any:
    """Return a hash of a hash, of which all bits are worth the same."""
    value = uint64(value)
    value ^= value >> uint64(33)
    value *= uint64(0xFF51AFD7ED558CCD)
    value ^= value >> uint64(33)
    value *= uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> uint64(33))


@compiled
def leading(length: int) -> Any:
    """Return BASE^(length - 1), the weight of the byte that leaves a window."""
    weight = uint64(1)
    for _ in range(length - 1):
        weight *= uint64(BASE)
    return weight


@compiled
def first_hash(text: Bytes, start: int, length: int) -> Any:
    """Return the rolling hash of the window that starts at `start`."""
    value = uint64(0)
    for i in range(start, start + length):
        value = value * uint64(BASE) + uint64(text[i])
    return value


@compiled
def _hash_grams(text: Bytes, start: int, gram: int, weight: Any, out: Hashes) -> None:
    """Hash the grams that start at `start` and at the places after it."""
    value = first_hash(text, start, gram)
    out[0] = mixed(value)
    for i in range(1, len(out)):
        value -= uint64(text[start + i - 1]) * weight
        value = value * uint64(BASE) + uint64(text[start + i + gram - 1])
        out[i] = mixed(value)


@compiled
def _first_least(hashes: Hashes, start: int, stop: int) -> int:
    where = start
    for i in range(start + 1, stop):
        if hashes[i] < hashes[where]:
            where = i
    return where


@compiled
def _count_anchors(
    text: Bytes, bounds: Places, length: int, seen: Bytes, twice: Bytes
) -> None:
    """Set each anchor's bit in `seen` or, where it is set, in `twice`."""
    gram = max(length // 2, 1)
    each, weight = length - gram + 1, leading(gram)
    mask = uint64(8 * len(seen) - 1)
    hashes = np.empty(_BLOCK + each, np.uint64)
    for row in range(len(bounds) - 1):
        last = -1
        for start in range(bounds[row], bounds[row + 1] - length + 1, _BLOCK):
            windows = min(_BLOCK, bounds[row + 1] - length + 1 - start)
            _hash_grams(text, start, gram, weight, hashes[: windows + each - 1])
            where = _first_least(hashes, 0, each)
            for i in range(windows):
                if where < i:
                    where = _first_least(hashes, i, i + each)
                elif hashes[i + each - 1] < hashes[where]:
                    where = i + each - 1
                if start + where != last:
                    last = start + where
                    bit = hashes[where] & mask
                    byte, one = bit >> uint64(3), np.uint8(1 << (bit & uint64(7)))
                    twice[byte] |= seen[byte] & one
                    seen[byte] |= one


@compiled
def _mark_windows(
    text: Bytes, bounds: Places, length: int, twice: Bytes, marks: Bytes
) -> None:
    """Set the bits of windows whose anchor's bit is in `twice`.

    The first bit is that of the position `bounds[0]` rounded down to eight.
    """
    gram = max(length // 2, 1)
    each, weight = length - gram + 1, leading(gram)
    mask = uint64(8 * len(twice) - 1)
    hashes = np.empty(_BLOCK + each, np.uint64)
    base = bounds[0] & ~7
    for row in range(len(bounds) - 1):
        for start in range(bounds[row], bounds[row + 1] - length + 1, _BLOCK):
            windows = min(_BLOCK, bounds[row + 1] - length + 1 - start)
            _hash_grams(text, start, gram, weight, hashes[: windows + each - 1])
            where, known, marked = _first_least(hashes, 0, each), -1, False
            for i in range(windows):
                if where < i:
                    where = _first_least(hashes, i, i + each)
                elif hashes[i + each - 1] < hashes[where]:
                    where = i + each - 1
                if where != known:
                    known, bit = where, hashes[where] & mask
                    marked = twice[bit >> uint64(3)] >> (bit & uint64(7)) & 1 == 1
                if marked:
                    position = start + i - base
                    marks[position >> 3] |= np.uint8(1 << (position & 7))


def repeatable_windows(
    text: Bytes, bounds: Places, length: int, threads: int = 1
) -> Bytes:
    """Return a bit for each byte of text: whether the window from there on may repeat.

    text: all texts one after the other, (n,) uint8. bounds: text i is
    `text[bounds[i] : bounds[i + 1]]`. length: bytes of a window, 1 at least.

    Every window whose bytes stand elsewhere too has its bit, and some others have.
    """
    windows = int(np.maximum(np.diff(bounds) - length + 1, 0).sum())
    each = length - max(length // 2, 1) + 1
    anchors = 2 * windows // (each + 1) + 1
    size = 8
    while 8 * size < _BITS_PER_ANCHOR * anchors:
        size *= 2
    cuts = np.searchsorted(bounds, np.linspace(0, len(text), threads + 1)[1:-1])
    ends = [0, *cuts.tolist(), len(bounds) - 1]
    shares = [bounds[a : b + 1] for a, b in pairwise(ends) if a < b]

    def count(share: Places) -> tuple[Bytes, Bytes]:
        seen, twice = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        _count_anchors(text, share, length, seen, twice)
        return seen, twice

    def mark(share: Places) -> Bytes:
        marks = np.zeros((int(share[-1]) >> 3) - (int(share[0]) >> 3) + 1, np.uint8)
        _mark_windows(text, share, length, twice, marks)
        return marks

    with ThreadPoolExecutor(threads) as pool:
        seen, twice = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        for once, more in pool.map(count, shares):
            twice |= more | (seen & once)
            seen |= once
        del seen
        out = np.zeros(len(text) // 8 + 1, np.uint8)
        for share, marks in zip(shares, pool.map(mark, shares), strict=True):
            start = int(share[0]) >> 3
            out[start : start + len(marks)] |= marks
    return out
