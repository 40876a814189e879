"""The rows of one cluster in visiting order, and products of them tile by tile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    Best,
    Ids,
    Singles,
    VectorRows,
    Vectors,
    prepare,
)
from winnow.numeric.device import Device

Flags = npt.NDArray[np.bool_]

#: Rows × earlier rows of one product: 1 MB of float32, half of a level-2 cache.
TILE = (256, 1024)
#: Clusters whose prepared rows take no more are prepared once, others by the tile.
PREPARED_BYTES = 256 << 20
# Taller tiles make preparing per tile cheap beside its product.
_LARGE_TILE = (2048, 1024)
#: Rows × earlier rows that a device is asked for at a time: tall, since it keeps the
#: rows and is sent the others; of smaller clusters asking takes longer than products.
DEVICE_TILE = (16_384, 4096)
DEVICE_FROM = 512


class Cluster:
    """n rows of one cluster, (n, dim) in visiting order, ready for products.

    Of any float type and norms above 0; a float16 memory map stays on disk if the
    cluster is large. `tile` and `device` change speed only, never a result. Raises
    ValueError if a row is zero or not finite.
    """

    def __init__(
        self,
        vectors: Vectors,
        tile: tuple[int, int] | None = None,
        device: Device | None = None,
    ) -> None:
        if vectors.ndim != 2:
            raise ValueError(f"vectors of shape {vectors.shape}: a matrix is needed")
        self._vectors = vectors
        large = 2 * 4 * vectors.size > PREPARED_BYTES
        self._prepared = None if large else prepare(vectors)
        self.height, self.width = tile or (_LARGE_TILE if large else TILE)
        self._device = device if len(vectors) >= DEVICE_FROM else None
        height = min(self.height, len(vectors))
        # Either a tile of products, or a block of rows against itself.
        width = max(min(self.width, len(vectors)), height)
        self.scratch: Singles = np.empty(height * width, np.float32)

    def __len__(self) -> int:
        return len(self._vectors)

    def rows(self, part: slice | Ids) -> VectorRows:
        """Return some rows, prepared."""
        if self._prepared is None:
            return prepare(self._vectors[part])
        if isinstance(part, slice):
            return self._prepared[part]
        whole = self._prepared
        return VectorRows(whole.exact[part], whole.unit[part], whole.squares[part])

    def blocks(self, positions: Ids) -> Iterator[Ids]:
        """Yield `positions` by tile heights."""
        for start in range(0, len(positions), self.height):
            yield positions[start : start + self.height]

    def search_blocks(self) -> Iterator[slice]:
        """Yield all rows by the heights of a search."""
        height = self.height if self._device is None else DEVICE_TILE[0]
        for start in range(0, len(self), height):
            yield slice(start, min(start + height, len(self)))

    def best_of(self, part: slice | Ids, floor: float = -np.inf) -> Best:
        """Return what some rows have seen: nothing so far."""
        return Best(self.rows(part), floor, self._device)

    def tiles_before(self, position: int) -> Iterator[slice]:
        """Yield all positions before `position` by tile widths."""
        for start in range(0, position, self.width):
            yield slice(start, min(start + self.width, position))

    def show_earlier(self, best: Best, positions: Ids) -> None:
        """Let the rows at ascending `positions` see all rows before them."""
        for part in self._tiles_seen(int(positions[-1])):
            ids = np.arange(part.start, part.stop)
            first = np.searchsorted(positions, ids, side="right")
            best.see(self.rows(part), ids, first, self.scratch)

    def _tiles_seen(self, end: int) -> Iterator[slice]:
        width = self.width if self._device is None else DEVICE_TILE[1]
        for start in range(0, end, width):
            yield slice(start, min(start + width, end))

    def show_members(self, best: Best, positions: Ids, member: Flags) -> None:
        """Let the rows at ascending `positions` see the earlier rows that are members.

        member: (n,) flags.
        """
        end = int(positions[-1])
        members = np.flatnonzero(member[:end])
        if 2 * len(members) > end:
            # Products with a few rows too many are cheaper than copying most rows.
            for part in self._tiles_seen(end):
                ids = np.arange(part.start, part.stop)
                first = np.searchsorted(positions, ids, side="right")
                first[~member[part]] = len(positions)
                best.see(self.rows(part), ids, first, self.scratch)
            return
        for part in self._tiles_seen(len(members)):
            ids = members[part]
            first = np.searchsorted(positions, ids, side="right")
            best.see(self.rows(ids), ids, first, self.scratch)
