"""Reads column chunks of a Parquet file behind a URL in ranges, none beyond its end.

What file systems read ahead does not know where a column ends: of a column of uids they
fetch as much as of images, and each column throws away what was read of another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence

from fsspec.caching import BaseCache, register_cache

# Of blocks held: a row group's columns are read by turns.
_HELD = 8


class ColumnChunkCache(BaseCache):  # type: ignore[misc]
    """Fetches a block at a time of the column chunk that is read, and holds the last.

    blocksize: of a block, in bytes. chunks: where column chunks begin and end, sorted.
    """

    name = "winnow_column_chunks"

    def __init__(
        self,
        blocksize: int,
        fetcher: Callable[[int, int], bytes],
        size: int,
        chunks: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(blocksize, fetcher, size)
        self._starts = [start for start, _ in chunks]
        self._ends = [end for _, end in chunks]
        self._blocks: OrderedDict[int, tuple[int, bytes]] = OrderedDict()

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        first = start or 0
        last = self.size if stop is None else min(stop, self.size)
        number = bisect_right(self._starts, first) - 1
        begin, block = self._blocks.get(number, (0, b""))
        if not begin <= first <= last <= begin + len(block):
            end = self._ends[number] if number >= 0 else last
            end = max(last, min(end, first + self.blocksize))
            begin, block = first, self.fetcher(first, end)
            self._blocks[number] = begin, block
            if len(self._blocks) > _HELD:
                self._blocks.popitem(last=False)
        return block[first - begin : last - begin]


register_cache(ColumnChunkCache)
