"""The index of vectors: images that earlier runs kept, or the rows of one run."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.hashing import digest
from winnow.indexes.merging import SegmentLimits
from winnow.indexes.segment import Segment
from winnow.indexes.segmented_index import SegmentedIndex
from winnow.indexes.vector_segment import NAMES, VectorSegment

#: A segment's vectors are in memory while it is written or merged.
SEGMENT_ROWS = 2_000_000
SEGMENT_BYTES = 1024 * 2**20


class VectorIndex(SegmentedIndex[VectorSegment]):
    """An index of vectors: what is near one is what has the largest cosine to it."""

    part: ClassVar[type[Segment]] = VectorSegment

    def limits(self) -> SegmentLimits:
        """Return the most that a merged segment may hold."""
        return SegmentLimits(SEGMENT_ROWS, SEGMENT_BYTES)


def named_rows(
    uids: pa.Array, vectors: npt.NDArray[np.float16], addition: int
) -> pa.RecordBatch:
    """Return NAMES for vectors, (n, dim), and their uids, in their order."""
    return pa.RecordBatch.from_arrays(
        [
            uids.cast(pa.large_string()),
            pa.array(vector_contents(vectors)),
            pa.repeat(pa.scalar(addition, pa.int32()), len(uids)),
        ],
        schema=NAMES,
    )


def vector_contents(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each vector's bytes: (n,)."""
    joined = b"".join(digest(vector.tobytes())[:8] for vector in vectors)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64, copy=False)
