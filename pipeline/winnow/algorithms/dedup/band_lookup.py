"""Look-ups in sorted band digests: which rows share a band with a query.

Source: the band index of LSH (Leskovec et al., "Mining of Massive Datasets", 3.4) as
one sorted array per band, which a file mapped into memory can be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled


def sorted_bands(
    digests: npt.NDArray[np.uint64],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Return digests (n, bands) as `(bands, n)`, each band sorted, and their rows.

    Rows ascend among equal digests.
    """
    rows, bands = digests.shape
    ordered = np.empty((bands, rows), dtype=np.uint64)
    order = np.empty((bands, rows), dtype=np.uint32)
    for band in range(bands):
        column = digests[:, band]
        by_digest = np.argsort(column, kind="stable")
        ordered[band], order[band] = column[by_digest], by_digest
    return ordered, order


def sharing_rows(
    ordered: npt.NDArray[np.uint64],
    order: npt.NDArray[np.uint32],
    query: npt.NDArray[np.uint64],
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the rows that share a band with `query` (bands,), and how many bands."""
    first, last = _ranges(ordered, query)
    members = [order[b, i:j] for b, (i, j) in enumerate(zip(first, last, strict=True))]
    rows, bands = np.unique(np.concatenate(members), return_counts=True)
    return rows, bands.astype(np.int64)


def pairs_in_band(
    ordered: npt.NDArray[np.uint64],
    order: npt.NDArray[np.uint32],
    queries: npt.NDArray[np.uint64],
    most: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Return (query, row) pairs of equal digests in one band, `most` rows per query.

    `ordered` and `order` are one band's (n,); of more rows the first ones are taken.
    """
    first = np.searchsorted(ordered, queries, side="left")
    last = np.searchsorted(ordered, queries, side="right")
    counts = np.minimum(last - first, most)
    query = np.repeat(np.arange(len(queries)), counts)
    offset = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    return query, order[np.repeat(first, counts) + offset]


@compiled
def _ranges(ordered: Any, query: Any) -> Any:
    """Return each band's range of digests that equal the query's."""
    bands, rows = ordered.shape
    first = np.empty(bands, dtype=np.int64)
    last = np.empty(bands, dtype=np.int64)
    for band in range(bands):
        low, high = 0, rows
        while low < high:
            middle = (low + high) // 2
            if ordered[band, middle] < query[band]:
                low = middle + 1
            else:
                high = middle
        first[band] = low
        high = low
        while high < rows and ordered[band, high] == query[band]:
            high += 1
        last[band] = high
    return first, last
