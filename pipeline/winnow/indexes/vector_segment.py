"""A segment of vectors, such as a model makes of images.

segment-00000/vectors.npy   (rows, dim) float16, of unit length
segment-00000/names.arrow   NAMES, sorted by uid
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.indexes.segment import Segment

#: A row: its name, a hash of its vector's bytes, and which addition it came in.
NAMES = pa.schema(
    [
        ("uid", pa.large_string()),
        ("content", pa.uint64()),
        ("addition", pa.int32()),
    ]
)


class VectorSegment(Segment):
    """Vectors, in the order of their rows' names."""

    KIND: ClassVar[str] = "vectors"
    ASKED_BY: ClassVar[str] = "image"
    TABLE: ClassVar[str] = "names.arrow"
    SCHEMA: ClassVar[pa.Schema] = NAMES
    ARRAYS: ClassVar[tuple[str, ...]] = ("vectors.npy",)
    REMADE: ClassVar[bool] = False

    @property
    def bytes(self) -> int:
        """Length of the largest of its files that a merge holds in memory."""
        return int(self.state["files"]["vectors.npy"]["bytes"])

    @cached_property
    def vectors(self) -> npt.NDArray[np.float16]:
        """Vectors (rows, dim); mapped."""
        return self.array("vectors.npy")

    def open(self) -> Self:
        """Map all files now: what is open outlives the folder. Returns itself."""
        _ = self.vectors
        return super().open()

    @classmethod
    def merged_arrays(
        cls,
        segments: Sequence[Self],
        kept: Sequence[npt.NDArray[np.int64]],
        by_uid: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays of several segments as those of one."""
        parts = [s.vectors[rows] for s, rows in zip(segments, kept, strict=True)]
        return (np.concatenate(parts)[by_uid],)
