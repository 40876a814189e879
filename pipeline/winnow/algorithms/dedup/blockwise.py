"""SemDeDup of a cluster too large to hold: a block of rows against other blocks.

The same decisions as `semantic`, which holds a cluster whole. Rows are numbered in
visiting order, and cosines that could decide something are exact (`algorithms.cosine`),
so that whatever blocks there are, the most similar of all earlier rows is the most
similar of each block's most similar ones; of equal ones the lowest number counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    Best,
    Floats,
    Ids,
    Singles,
    VectorRows,
    Vectors,
    prepare,
    products_into,
)
from winnow.algorithms.dedup.cluster import Flags
from winnow.algorithms.dedup.components import flatten
from winnow.algorithms.dedup.semantic import link_tile, settle_in_order
from winnow.numeric.device import Device

#: Rows and candidates of one product: 4 MB of float32. Narrow, since of the rows of one
#: block half are earlier than a candidate and take no part.
HEIGHT, WIDTH = 2048, 512
#: The same of a search by a device, which keeps the rows and is sent the candidates.
DEVICE_HEIGHT, DEVICE_WIDTH = 16_384, 8192


class Block:
    """m rows of a cluster, ready for products.

    vectors: (m, dim) of any float type; numbers: (m,) ascending, their places in
    visiting order. device: makes the products of searches, if there is one. Raises
    ValueError if a row is zero or not finite.
    """

    def __init__(
        self, vectors: Vectors, numbers: Ids, device: Device | None = None
    ) -> None:
        self.rows = prepare(vectors)
        self.device = device
        self.numbers = numbers
        height = min(HEIGHT, max(len(numbers), 1))
        self.scratch: Singles = np.empty(height * max(height, WIDTH), np.float32)

    def parts(self) -> Iterator[slice]:
        """Yield all rows by heights of a product."""
        return self._by(HEIGHT)

    def search_parts(self) -> Iterator[slice]:
        """Yield all rows by heights of a search."""
        return self._by(HEIGHT if self.device is None else DEVICE_HEIGHT)

    def _by(self, height: int) -> Iterator[slice]:
        for start in range(0, len(self.numbers), height):
            yield slice(start, min(start + height, len(self.numbers)))


def tiles(
    vectors: Vectors, numbers: Ids, device: Device | None = None
) -> Iterator[tuple[VectorRows, Ids]]:
    """Yield candidates (c, dim) and their numbers by widths of a product, prepared.

    device: of the block that they are candidates for.
    """
    width = WIDTH if device is None else DEVICE_WIDTH
    for start in range(0, len(numbers), width):
        part = slice(start, start + width)
        yield prepare(vectors[part]), numbers[part]


def nearest_earlier(
    block: Block, candidates: Iterable[tuple[VectorRows, Ids]], floor: float = -np.inf
) -> tuple[Floats, Ids]:
    """Return the cosine (m,) and number (m,) of each row's nearest earlier candidate.

    candidates: tiles in ascending order of their numbers. −inf and −1 where there is
    none; candidates whose cosine is `floor` or less may be passed over.
    """
    nearest = [
        (part, Best(block.rows[part], floor, block.device))
        for part in block.search_parts()
    ]
    for rows, numbers in candidates:
        for part, best in nearest:
            first = np.searchsorted(block.numbers[part], numbers, side="right")
            if int(first[0]) < part.stop - part.start:
                best.see(rows, numbers, first, block.scratch)
    cosine = [np.empty(0), *(best.cosine for _, best in nearest)]
    number = [np.empty(0, np.int64), *(best.ids for _, best in nearest)]
    return np.concatenate(cosine), np.concatenate(number)


def nearest_of(numbers: Ids, cosine: Floats, candidate: Ids) -> tuple[Ids, Floats, Ids]:
    """Return each row once, with the nearest of what several searches found for it.

    numbers, cosine, candidate: (p,) in any order. Rows come back in ascending order.
    """
    order = np.lexsort((candidate, -cosine, numbers))
    # A search without a candidate says −inf and loses to every other one.
    rows, first = np.unique(numbers[order], return_index=True)
    return rows, cosine[order][first], candidate[order][first]


def keep_in_order(block: Block, cosine: Floats, nearest: Ids, least: float) -> Flags:
    """Decide a block's rows in order, given their nearest kept row outside of it.

    cosine, nearest: (m,), in and out: of a row that goes, those of its nearest kept
    earlier row. Returns (m,) flags: whether a row is kept, having none above `least`.
    """
    keep = np.zeros(len(block.numbers), np.bool_)
    for part in block.parts():
        rows, numbers = block.rows[part], block.numbers[part]
        best = Best(rows, floor=least)
        members = np.flatnonzero(keep[: part.start])
        for start in range(0, len(members), WIDTH):
            ids = members[start : start + WIDTH]
            whole = block.rows
            kept = VectorRows(whole.exact[ids], whole.unit[ids], whole.squares[ids])
            first = np.zeros(len(ids), np.int64)
            best.see(kept, block.numbers[ids], first, block.scratch)
        inside = best.cosine > cosine[part]
        inside |= (best.cosine == cosine[part]) & (best.ids < nearest[part])
        cosine[part] = np.where(inside, best.cosine, cosine[part])
        nearest[part] = np.where(inside, best.ids, nearest[part])
        products = products_into(block.scratch, rows.unit, rows.unit)
        settle_in_order(
            (products, numbers),
            (rows.exact, rows.squares),
            (cosine[part], nearest[part]),
            least,
        )
        keep[part] = ~(cosine[part] > least)
    return keep


def linked(
    block: Block, candidates: Iterable[tuple[VectorRows, Ids]], span: Ids, least: float
) -> tuple[Ids, Ids]:
    """Link rows to earlier candidates above `least`: edges that join the same rows.

    span: (s,) ascending numbers of all rows that may be met. Returns the two ends of
    fewer than s edges, numbers both: each component's rows and its first row.
    """
    parent = np.arange(len(span))
    nodes = np.searchsorted(span, block.numbers)
    for rows, numbers in candidates:
        start = int(np.searchsorted(span, numbers[0]))
        for part in block.parts():
            mine = block.rows[part]
            link_tile(
                (
                    products_into(block.scratch, mine.unit, rows.unit),
                    nodes[part],
                    start,
                ),
                (mine.exact, mine.squares),
                (rows.exact, rows.squares),
                least,
                parent,
            )
    flatten(parent)
    joined = np.flatnonzero(parent != np.arange(len(span)))
    return span[joined], span[parent[joined]]


def pieces(start: int, stop: int, size: int) -> npt.NDArray[np.int64]:
    """Return the borders of [start, stop) cut into even pieces of `size` at most."""
    count = max(1, -(-(stop - start) // size))
    return np.linspace(start, stop, count + 1).astype(np.int64)
