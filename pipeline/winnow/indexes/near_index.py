"""The index of texts: its segments hold sorted digests of bands, and the texts."""

from __future__ import annotations

from typing import ClassVar

from winnow.indexes.merging import SegmentLimits
from winnow.indexes.segment import Segment
from winnow.indexes.segmented_index import SegmentedIndex
from winnow.indexes.text_segment import TextSegment

#: A segment's digests and texts are in memory while it is written or merged.
SEGMENT_ROWS = 1_000_000
SEGMENT_DIGESTS = 64 * 2**20
SEGMENT_BYTES = 512 * 2**20


class NearIndex(SegmentedIndex[TextSegment]):
    """An index of texts: what shares a band of MinHash values with one is near it."""

    part: ClassVar[type[Segment]] = TextSegment

    def limits(self) -> SegmentLimits:
        """Return the most that a merged segment may hold."""
        return SegmentLimits(segment_rows(int(self.settings["bands"])), SEGMENT_BYTES)


def segment_rows(bands: int) -> int:
    """Return the most rows of a segment whose texts have so many bands."""
    return min(SEGMENT_ROWS, SEGMENT_DIGESTS // bands)
