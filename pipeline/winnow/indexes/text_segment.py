"""A segment of texts: the sorted digests of their bands, and the row of each.

segment-00000/digests.npy   (bands, rows) sorted band by band
segment-00000/rows.npy      (bands, rows) the row of each digest
segment-00000/texts.arrow   TEXTS, sorted by uid
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.indexes.segment import TEXT_KIND, Segment

#: A row: its name, its text, a hash of the text's bytes, and which addition it came in.
TEXTS = pa.schema(
    [
        ("uid", pa.large_string()),
        ("text", pa.large_string()),
        ("content", pa.uint64()),
        ("addition", pa.int32()),
    ]
)


class TextSegment(Segment):
    """Texts and the digests of their bands."""

    KIND: ClassVar[str] = TEXT_KIND
    ASKED_BY: ClassVar[str] = "text"
    TABLE: ClassVar[str] = "texts.arrow"
    SCHEMA: ClassVar[pa.Schema] = TEXTS
    ARRAYS: ClassVar[tuple[str, ...]] = ("digests.npy", "rows.npy")
    REMADE: ClassVar[bool] = True

    @cached_property
    def digests(self) -> npt.NDArray[np.uint64]:
        """Digests (bands, rows), each band sorted; mapped."""
        return self.array("digests.npy")

    @cached_property
    def rows(self) -> npt.NDArray[np.uint32]:
        """The row of each digest, (bands, rows); mapped."""
        return self.array("rows.npy")

    def open(self) -> Self:
        """Map all files now: what is open outlives the folder. Returns itself."""
        _ = self.digests, self.rows
        return super().open()

    @classmethod
    def merged_arrays(
        cls,
        segments: Sequence[Self],
        kept: Sequence[npt.NDArray[np.int64]],
        by_uid: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays of several segments as those of one."""
        bands = len(segments[0].digests)
        digests = np.empty((bands, len(by_uid)), dtype=np.uint64)
        rows = np.empty((bands, len(by_uid)), dtype=np.uint32)
        for band in range(bands):
            parts = zip(segments, kept, strict=True)
            column = np.concatenate([digests_by_row(s, band)[k] for s, k in parts])
            column = column[by_uid]
            by_digest = np.argsort(column, kind="stable")
            digests[band], rows[band] = column[by_digest], by_digest
        return digests, rows


def digests_by_row(segment: TextSegment, band: int) -> npt.NDArray[np.uint64]:
    """Return a band's digests in the order of the rows."""
    by_row = np.empty(segment.size, dtype=np.uint64)
    by_row[segment.rows[band]] = segment.digests[band]
    return by_row
