"""Which segments are merged: sizes fall by a factor, as in a log-structured tree.

Source: P. O'Neil et al., "The Log-Structured Merge-Tree" (Acta Informatica 33, 1996):
every row is written again a number of times that grows with the logarithm of the rows,
and there are as many segments as that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: A segment joins the one before it once it is at least this part of it.
_RATIO = 4
#: Segments of so many rows together are always one.
_SMALL = 65_536


class Size(NamedTuple):
    """Standing rows of a segment, bytes of its texts, and removed rows."""

    rows: int
    bytes: int
    gone: int = 0


class SegmentLimits(NamedTuple):
    """The most rows and bytes of a merged segment: it is in memory while written."""

    rows: int
    bytes: int


def tail_to_merge(sizes: Sequence[Size], limits: SegmentLimits) -> int:
    """Return from which segment on to merge; `len(sizes)` for none.

    A single segment is named where a quarter of its rows have been removed.
    """
    first = len(sizes)
    rows = size = 0
    for i in range(len(sizes) - 1, -1, -1):
        before = sizes[i]
        fits = rows + before.rows <= limits.rows and size + before.bytes <= limits.bytes
        near = rows * _RATIO >= before.rows or rows + before.rows <= _SMALL
        if i < len(sizes) - 1 and not (fits and near):
            break
        first, rows, size = i, rows + before.rows, size + before.bytes
    alone = first == len(sizes) - 1
    if alone and sizes[first].gone * _RATIO < sizes[first].rows + sizes[first].gone:
        return len(sizes)
    return first


def groups_to_pack(sizes: Sequence[Size], limits: SegmentLimits) -> list[range]:
    """Return ranges of neighbouring segments that become one each.

    As few as the limits allow; a segment by itself where rows of it were removed.
    """
    ranges: list[range] = []
    first = rows = size = 0
    for i, (more, volume, _) in enumerate(sizes):
        if i > first and (rows + more > limits.rows or size + volume > limits.bytes):
            ranges.append(range(first, i))
            first, rows, size = i, 0, 0
        rows, size = rows + more, size + volume
    if sizes:
        ranges.append(range(first, len(sizes)))
    return [r for r in ranges if len(r) > 1 or sizes[r.start].gone]


def last_first(ranges: Sequence[range]) -> list[range]:
    """Return those that hold something, so that one does not move the next."""
    return sorted((r for r in ranges if len(r)), key=lambda r: -r.start)
