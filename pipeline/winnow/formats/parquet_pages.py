"""How large the pages of a Parquet file are, by the headers of the first ones.

A page is the least of a column that can be read: packed whole, and unpacked whole. A
footer knows row groups and columns, not pages, so their headers are looked at
(parquet-format, `PageHeader`: Thrift's compact protocol).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.core.parquet_footer import ColumnChunk

# Row groups looked at; those of a file are written alike.
_GROUPS = 8
_HEADER = 32
# Thrift: the next field, a 32-bit number.
_NEXT_I32 = 0x15


def largest_page(
    source: Any,
    groups: Sequence[Sequence[ColumnChunk]],
    names: Sequence[str],
    columns: Sequence[str],
) -> tuple[int, str]:
    """Return the bytes of the largest page seen, packed and unpacked, and its column.

    source: the open file. groups: the column chunks of its row groups. names: of the
    column of each chunk. columns: those that are read. (0, ""): no header was
    understood.
    """
    sizes = [(0, "")]
    for group in groups[:_GROUPS]:
        for name, chunk in zip(names, group, strict=False):
            # No page is larger than its column chunk, which counts twice here.
            if name not in columns or 2 * chunk.unpacked < sizes[-1][0]:
                continue
            for start in chunk.pages:
                source.seek(start)
                sizes.append((sum(page_sizes(source.read(_HEADER))), name))
        sizes = [max(sizes)]
    return sizes[-1]


def page_sizes(header: bytes) -> tuple[int, int]:
    """Return a page's bytes unpacked and packed; (0, 0) if this is no such header.

    header: its first bytes: kind, unpacked and packed size, each a zigzag varint.

    >>> page_sizes(bytes([0x15, 0, 0x15, 0x90, 0x03, 0x15, 0xC8, 0x01]))
    (200, 100)
    """
    numbers, position = [], 0
    for _ in range(3):
        if header[position : position + 1] != bytes([_NEXT_I32]):
            return 0, 0
        position += 1
        value = shift = 0
        while True:
            if position >= len(header) or shift > 28:
                return 0, 0
            byte = header[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        numbers.append((value >> 1) ^ -(value & 1))
    _, unpacked, packed = numbers
    return (unpacked, packed) if min(unpacked, packed) >= 0 else (0, 0)
