"""UTF-8 bytes to shingles, the substrings that a set of n-grams is made of.

The text of a row is normalised in a scratch buffer, and it is noted where its units
(words or code points) start. A shingle of n units is then a span
of that buffer, so overlapping shingles are never copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types, uintp
from numba.core import cgutils
from numba.extending import intrinsic

from winnow.algorithms.dedup.lanes import data_of
from winnow.algorithms.dedup.whitespace import SPACE
from winnow.numeric.compiled import compiled

Bytes = npt.NDArray[np.uint8]


@compiled
def is_ascii(text: Bytes, start: int, end: int) -> bool:
    """Say whether no byte of `text[start:end]` has its high bit set."""
    seen = np.uint8(0)
    # Here and below: unsigned indices cannot mean "from the end", so loops vectorise.
    for i in range(uintp(start), uintp(end)):
        seen |= text[i]
    return bool(seen < 0x80)


@intrinsic
def copy(
    typing: Any, source: Any, start: Any, count: Any, out: Any, out_start: Any
) -> Any:
    """Copy `count` bytes from `source[start]` to `out[out_start]`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, out = (data_of(context, builder, signature, values, i) for i in (0, 3))
        target = builder.gep(out, [values[4]])
        cgutils.raw_memcpy(
            builder, target, builder.gep(source, [values[1]]), values[2], 1
        )
        return context.get_dummy_value()

    whole = types.int64
    return types.void(source, whole, whole, out, whole), generate


@compiled
def translate(text: Bytes, end: int, table: Bytes) -> None:
    """Replace every byte of `text[:end]` by its entry in `table`."""
    for i in range(uintp(end)):
        text[i] = table[text[i]]


@compiled
def _white_bytes(text: Bytes, start: int, end: int) -> int:
    """Return the length of the whitespace character at `start`, or 0."""
    first, second = text[start], text[start + 1]
    if first == 0xC2:
        return 2 if second in (0x85, 0xA0) else 0
    if start + 2 >= end:
        return 0
    third = text[start + 2]
    if first == 0xE2 and second == 0x80:
        in_row = 0x80 <= third <= 0x8A
        return 3 if in_row or third in (0xA8, 0xA9, 0xAF) else 0
    medium = first == 0xE2 and second == 0x81 and third == 0x9F
    ogham = first == 0xE1 and second == 0x9A and third == 0x80
    ideographic = first == 0xE3 and second == 0x80 and third == 0x80
    return 3 if medium or ogham or ideographic else 0


@compiled
def whiten(text: Bytes, start: int, end: int) -> None:
    """Overwrite non-ASCII whitespace in `text[start:end]` by as many spaces as bytes.

    The code points are those of `str.isspace`: U+0085, 00A0, 1680, 2000 … 200A, 2028,
    2029, 202F, 205F and 3000.
    """
    for i in range(uintp(start), uintp(end) - uintp(1)):
        byte = text[i]
        if byte == 0xC2 or 0xE1 <= byte <= 0xE3:
            for j in range(_white_bytes(text, i, end)):
                text[i + uintp(j)] = SPACE


@compiled
def code_points(
    text: Bytes, start: int, end: int, points: npt.NDArray[np.int32]
) -> int:
    """Note where the code points of `text[start:end]` start, and `end` after them.

    Returns their number. In invalid UTF-8, continuation bytes belong to whatever
    precedes them.
    """
    count = uintp(0)
    for i in range(uintp(start), uintp(end)):
        points[count] = i
        first = i == uintp(start) or (text[i] & 0xC0) != 0x80
        count += uintp(1) if first else uintp(0)
    points[count] = end
    return int(count)


@compiled
def spans(
    starts: npt.NDArray[np.int32],
    units: int,
    size: tuple[int, int],
    offsets: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    written: int,
) -> int:
    """Write the shingles of `units` units from `offsets[written]`; return the end.

    `size` is (units per shingle, bytes between units). `starts` has one entry more, for
    the unit that would follow the last. Fewer units than a shingle has make one
    shingle, none make none.
    """
    ngram, gap = size
    if units == 0:
        return written
    ngram = min(ngram, units)
    shingles = uintp(units - ngram + 1)
    for i in range(shingles):
        offsets[uintp(written) + i] = starts[i]
        lengths[uintp(written) + i] = starts[i + uintp(ngram)] - gap - starts[i]
    return written + int(shingles)
