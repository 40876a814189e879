"""UTF-8 bytes to shingles, the substrings that a set of n-grams is made of.

One pass over the bytes of a row writes its normalised text into a scratch buffer and
notes where its units (words or code points) start. A shingle of n units is then a span
of that buffer, so overlapping shingles are never copied.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

SPACE = 0x20


Bytes = npt.NDArray[np.uint8]


@njit(nogil=True, cache=True)
def white_bytes(row: Bytes, at: int) -> int:
    """Return the length of the non-ASCII whitespace character at `at`, or 0.

    The code points are those of `str.isspace`: U+0085, 00A0, 1680, 2000 … 200A, 2028,
    2029, 202F, 205F and 3000.
    """
    first = row[at]
    if first == 0xC2:
        return 2 if at + 1 < len(row) and row[at + 1] in (0x85, 0xA0) else 0
    if at + 2 >= len(row):
        return 0
    second, third = row[at + 1], row[at + 2]
    if first == 0xE2 and second == 0x80:
        return 3 if third in (0xA8, 0xA9, 0xAF) or 0x80 <= third <= 0x8A else 0
    medium = first == 0xE2 and second == 0x81 and third == 0x9F
    ogham = first == 0xE1 and second == 0x9A and third == 0x80
    ideographic = first == 0xE3 and second == 0x80 and third == 0x80
    return 3 if medium or ogham or ideographic else 0


@njit(nogil=True, cache=True)
def is_ascii(row: Bytes) -> bool:
    """Say whether no byte of `row` has its high bit set."""
    seen = np.uint8(0)
    for i in range(len(row)):
        seen |= row[i]
    return bool(seen < 0x80)


@njit(nogil=True, cache=True)
def squeeze(
    row: Bytes, table: Bytes, out: Bytes, at: int, words: npt.NDArray[np.int32]
) -> tuple[int, int]:
    """Copy `row` through `table` to `out[at:]`, words joined by one space.

    Notes the words' starts in `words`, followed by the start that one more word would
    have. Returns the end of the last word in `out`, and the number of words.
    """
    begin, count, white_before = at, 0, 1
    if is_ascii(row):
        # Always written, advanced by 0 or 1: branches on spaces would be mispredicted.
        for i in range(len(row)):
            byte = table[row[i]]
            white = 1 if byte == SPACE else 0
            words[count] = at
            count += white_before & (1 - white)
            out[at] = byte
            at += 1 - (white_before & white)
            white_before = white
    else:
        i = 0
        while i < len(row):
            byte = table[row[i]]
            size = white_bytes(row, i) if byte >= 0x80 else 0
            white = 1 if byte == SPACE or size else 0
            words[count] = at
            count += white_before & (1 - white)
            out[at] = SPACE if white else byte
            at += 1 - (white_before & white)
            white_before = white
            i += max(size, 1)
    if white_before and at > begin:
        at -= 1
    words[count] = at + 1
    return at, count


@njit(nogil=True, cache=True)
def copy(row: Bytes, table: Bytes, out: Bytes, at: int) -> int:
    """Copy `row` through `table` to `out[at:]`; return the end."""
    for i in range(len(row)):
        out[at + i] = table[row[i]]
    return at + len(row)


@njit(nogil=True, cache=True)
def code_points(
    text: Bytes, start: int, end: int, points: npt.NDArray[np.int32]
) -> int:
    """Note the starts of the code points of `text[start:end]`, and `end` after them.

    Returns their number. In invalid UTF-8, continuation bytes belong to whatever
    precedes them.
    """
    count = 0
    for i in range(start, end):
        points[count] = i
        count += 1 if i == start or (text[i] & 0xC0) != 0x80 else 0
    points[count] = end
    return count


@njit(nogil=True, cache=True)
def spans(
    starts: npt.NDArray[np.int32],
    count: int,
    ngram: int,
    gap: int,
    offsets: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
) -> int:
    """Write the shingles of `count` units; return how many there are.

    `starts` has `count + 1` entries, the last for the unit that would follow; `gap`
    bytes lie between units. Fewer than `ngram` units make one shingle, none make none.
    """
    if count == 0:
        return 0
    size = min(ngram, count)
    shingles = count - size + 1
    for i in range(shingles):
        offsets[i] = starts[i]
        lengths[i] = starts[i + size] - gap - starts[i]
    return shingles
