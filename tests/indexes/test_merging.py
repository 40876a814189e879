"""Which segments are merged: few remain, and no row is written often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from winnow.indexes.merging import SegmentLimits, Size, groups_to_pack, tail_to_merge

ROOMY = SegmentLimits(1_000_000, 2**40)


def grown(additions: list[int], limits: SegmentLimits) -> tuple[list[Size], int]:
    """Return the segments after each addition was followed by a merge, rows written."""
    sizes: list[Size] = []
    written = 0
    for rows in additions:
        sizes.append(Size(rows, rows * 500))
        first = tail_to_merge(sizes, limits)
        tail = sizes[first:]
        written += rows + sum(size.rows for size in tail)
        if tail:
            total = sum(size.rows for size in tail)
            sizes[first:] = [Size(total, total * 500)]
    return sizes, written


@pytest.mark.parametrize("count", [1, 10, 200, 1000])
def test_small_additions_are_one_segment(count: int):
    sizes, _ = grown([10] * count, ROOMY)
    assert [size.rows for size in sizes] == [10 * count]


def test_segments_and_writes_grow_with_the_logarithm():
    rng = np.random.default_rng(0)
    additions = rng.integers(20_000, 60_000, 300).tolist()
    sizes, written = grown(additions, SegmentLimits(10_000_000, 2**40))
    rows = sum(additions)
    assert sum(size.rows for size in sizes) == rows
    assert len(sizes) <= 2 + math.log(rows / 65_536, 4)
    assert written <= 6 * math.log(rows / 20_000, 2) * rows


def test_no_segment_outgrows_the_limits():
    limits = SegmentLimits(1000, 300_000)
    sizes, _ = grown([70] * 200, limits)
    assert all(size.rows <= 1000 and size.bytes <= 300_000 for size in sizes)
    packed = groups_to_pack(sizes, limits)
    assert all(sum(sizes[i].bytes for i in r) <= 300_000 for r in packed)


def test_removed_rows_have_a_segment_written_again():
    assert tail_to_merge([Size(75, 1, 25)], ROOMY) == 0
    assert tail_to_merge([Size(76, 1, 24)], ROOMY) == 1
    assert groups_to_pack([Size(99, 1, 1)], ROOMY) == [range(1)]
    assert groups_to_pack([Size(99, 1), Size(3, 1)], SegmentLimits(100, 9)) == []
    assert groups_to_pack([], ROOMY) == []
