"""Passages that stand in a corpus twice: windows of some bytes, by exact equality.

A window is `length` consecutive bytes of one text. It is repeated if the same bytes
stand elsewhere, in another text or in this one; a passage is a union of repeated
windows. This is what a suffix array finds as common prefixes of at least `length` bytes
(Lee et al. 2021, arXiv 2107.06499), for 9 and more bytes of memory to each byte of
text. Here the windows that may be repeated (`anchors`) are put in a table by a rolling
hash (Karp and Rabin 1987), part after part: the text is gone through once for each part
of the hashes, so that a table is as large as one likes. Equal hashes count for nothing
until the bytes are compared.

Memory: a table of 8 bytes for each such window of a part, at most two thirds filled,
and two bits to each byte of text for each thread. The text itself may be mapped from a
file.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.algorithms.dedup.anchors import (
    BASE,
    first_hash,
    leading,
    mixed,
    repeatable_windows,
)
from winnow.numeric.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

# A slot holds a place and 24 bits of the hash.
_PLACE_BITS = 40
_PLACE_MASK = (1 << _PLACE_BITS) - 1
#: Bytes of the table of one part.
TABLE_BYTES = 1 << 28


class Passages(NamedTuple):
    """Repeated passages in the order of the text, as places in all of it.

    `first` is where the passage's first window stands first, -1 where the passage
    itself is that; `copies` counts the places where it stands.
    """

    start: Places
    end: Places
    first: Places
    copies: Places


@compiled
def _equal(text: Bytes, one: Any, other: Any, length: int) -> bool:
    i = 0
    while i < length and text[one + i] == text[other + i]:
        i += 1
    return i == length


@compiled
def _next_marked(bits: Bytes, window: int, stop: int) -> int:
    """Return the first place from `window` on whose bit is set, `stop` if none is."""
    while window < stop:
        byte = bits[window >> 3] >> (window & 7)
        if byte:
            while not byte & 1:
                byte >>= 1
                window += 1
            return min(window, stop)
        window = (window | 7) + 1
    return stop


@compiled
def _hash_at(text: Bytes, window: int, length: int, last: Any, weight: Any) -> Any:
    """Return a window's hash, given the place and the hash of one before it."""
    before, value = last
    if before < 0 or window - before >= length:
        return first_hash(text, window, length)
    for i in range(before, window):
        value -= uint64(text[i]) * weight
        value = value * uint64(BASE) + uint64(text[i + length])
    return value


@compiled
def _mark_part(
    text: Bytes,
    bounds: Places,
    length: int,
    part: tuple[int, int, bool],
    table: npt.NDArray[np.uint64],
    bits: tuple[Bytes, Bytes],
) -> bool:
    """Set the bits of repeated windows of one part; say whether the table sufficed.

    part: (number, of how many, whether the first of equal windows is marked too).
    bits: of windows that may be repeated, and those to be set.
    """
    number, parts, first_too = part
    repeatable, marks = bits
    mask = uint64(len(table) - 1)
    weight = leading(length)
    free = len(table) * 2 // 3
    for row in range(len(bounds) - 1):
        stop, last, value = bounds[row + 1] - length + 1, -1, uint64(0)
        # Where the last window's equal starts: that of the next is often the next.
        window, equal = bounds[row] - 1, np.int64(-2)
        while True:
            window = _next_marked(repeatable, window + 1, stop)
            if window >= stop:
                break
            value = _hash_at(text, window, length, (last, value), weight)
            after = equal + 1 if window == last + 1 else -1
            last, mix, equal = window, mixed(value), np.int64(-2)
            if (mix >> uint64(48)) * uint64(parts) >> uint64(16) != uint64(number):
                continue
            tag = (mix >> uint64(24)) << uint64(_PLACE_BITS)
            slot = mix & mask
            repeated = False
            while table[slot] != 0:
                entry = table[slot]
                if (entry ^ tag) >> uint64(_PLACE_BITS) == 0:
                    other = np.int64(entry & uint64(_PLACE_MASK)) - 1
                    known = length - 1 if other == after else 0
                    if _equal(text, other + known, window + known, length - known):
                        repeated, equal = True, other
                        if first_too:
                            marks[other >> 3] |= np.uint8(1 << (other & 7))
                        break
                slot = (slot + uint64(1)) & mask
            if repeated:
                marks[window >> 3] |= np.uint8(1 << (window & 7))
            else:
                if free == 0:
                    return False
                table[slot] = tag | uint64(window + 1)
                free -= 1
    return True


@compiled
def _spans(bounds: Places, length: int, marks: Bytes) -> tuple[Places, Places]:
    """Return the starts and ends of unions of marked windows, within texts."""
    # A list needs a first element to have a type.
    starts: Any = [np.int64(0)]
    ends: Any = [np.int64(0)]
    for row in range(len(bounds) - 1):
        last, stop = -1, bounds[row + 1] - length + 1
        window = _next_marked(marks, bounds[row], stop)
        while window < stop:
            if window > last:
                starts.append(window)
                ends.append(window + length)
            else:
                ends[-1] = window + length
            last = window + length
            window = _next_marked(marks, window + 1, stop)
    return np.array(starts)[1:], np.array(ends)[1:]


@compiled
def _locate(
    text: Bytes, bounds: Places, wanted: tuple[int, Places], table: Places, bits: Bytes
) -> tuple[Places, Places]:
    """Return where some windows stand first, and how often.

    wanted: bytes of a window, and where these start. bits: of windows that may be
    repeated.
    """
    length, starts = wanted
    mask = uint64(len(table) - 1)
    weight = leading(length)
    first, copies = np.full(len(starts), -1, np.int64), np.zeros(len(starts), np.int64)
    same_as = np.arange(len(starts))
    for i in range(len(starts)):
        slot = mixed(first_hash(text, starts[i], length)) & mask
        while table[slot] and not _equal(
            text, starts[table[slot] - 1], starts[i], length
        ):
            slot = (slot + uint64(1)) & mask
        if table[slot]:
            same_as[i] = table[slot] - 1
        else:
            table[slot] = i + 1
    for row in range(len(bounds) - 1):
        stop, last, value = bounds[row + 1] - length + 1, -1, uint64(0)
        window = bounds[row] - 1
        while True:
            window = _next_marked(bits, window + 1, stop)
            if window >= stop:
                break
            value = _hash_at(text, window, length, (last, value), weight)
            last = window
            slot = mixed(value) & mask
            while table[slot]:
                i = table[slot] - 1
                if _equal(text, starts[i], window, length):
                    copies[i] += 1
                    if first[i] < 0:
                        first[i] = window
                    break
                slot = (slot + uint64(1)) & mask
    return first[same_as], copies[same_as]


def repeated_passages(
    text: Bytes,
    bounds: Places,
    length: int,
    *,
    keep_first: bool = True,
    threads: int = 1,
    table_bytes: int = TABLE_BYTES,
) -> Passages:
    """Return the passages of at least `length` bytes that stand elsewhere too.

    text: all texts one after the other, (n,) uint8; it may be mapped.
    bounds: text i is `text[bounds[i] : bounds[i + 1]]`.
    keep_first: whether the first place of equal windows is no repetition.
    table_bytes: memory for the tables of all threads together.

    Passages end where a text does, and at any byte: also within a character. Raises
    ValueError for a length below 1 and for more than 2⁴⁰ bytes.
    """
    if length < 1:
        raise ValueError(f"a passage has at least 1 byte, not {length}")
    if len(text) > _PLACE_MASK - 1:
        raise ValueError(f"{len(text):,} bytes of text; at most {_PLACE_MASK:,}")
    repeatable = repeatable_windows(text, bounds, length, threads)
    windows = int(np.bitwise_count(repeatable).sum(dtype=np.int64))
    if not windows:
        none = np.zeros(0, np.int64)
        return Passages(none, none, none, none)
    slots, parts = _division(windows, table_bytes // max(threads, 1))

    def mark(worker: int) -> Bytes:
        bits = repeatable, np.zeros(len(text) // 8 + 1, np.uint8)
        table = np.zeros(slots, np.uint64)
        for number in range(worker, parts, threads):
            table[:] = 0
            part = (number, parts, not keep_first)
            while not _mark_part(text, bounds, length, part, table, bits):
                # Parts are even but for chance; marks may be set twice.
                table = np.zeros(2 * len(table), np.uint64)
        return bits[1]

    with ThreadPoolExecutor(threads) as pool:
        marks = np.bitwise_or.reduce(list(pool.map(mark, range(threads))))
    start, end = _spans(bounds, length, marks)
    return Passages(start, end, *_placed(text, bounds, (length, start), repeatable))


def _division(windows: int, table_bytes: int) -> tuple[int, int]:
    """Return the slots of a table, a power of two, and the number of parts."""
    slots = 64
    while slots * 2 <= table_bytes // 8 and slots * 0.6 < windows:
        slots *= 2
    return slots, -(-windows // int(slots * 0.6))


def _placed(
    text: Bytes, bounds: Places, wanted: tuple[int, Places], repeatable: Bytes
) -> tuple[Places, Places]:
    start, size = wanted[1], 8
    while size < 2 * len(start):
        size *= 2
    table = np.zeros(size, np.int64)
    first, copies = _locate(text, bounds, wanted, table, repeatable)
    return np.where(first == start, -1, first), copies
