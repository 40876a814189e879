"""Column chunks behind a URL: every read is the file's bytes, and none fetches much."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st
from winnow.formats.chunk_cache import ColumnChunkCache

_DATA = random.Random(4).randbytes(4_000)


@given(
    cuts=st.lists(st.integers(1, 3_999), max_size=12, unique=True),
    reads=st.lists(st.tuples(st.integers(0, 3_999), st.integers(0, 900)), max_size=30),
    block=st.integers(1, 1_500),
)
def test_reads_are_the_files_bytes_whatever_was_read_before(
    cuts: list[int], reads: list[tuple[int, int]], block: int
):
    fetched: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        fetched.append((start, stop))
        return _DATA[start:stop]

    borders = [4, *sorted(cut for cut in cuts if cut > 4), 3_990]
    chunks = list(itertools.pairwise(borders))
    cache = ColumnChunkCache(block, fetch, len(_DATA), chunks)
    for start, length in reads:
        fetched.clear()
        stop = min(start + length, len(_DATA))
        assert cache._fetch(start, stop) == _DATA[start:stop]
        ends = [end for begin, end in chunks if begin <= start < end] or [stop]
        assert all(b <= max(stop, min(ends[0], start + block)) for _, b in fetched)
