"""Exact Jaccard similarity of pairs of texts, over the hashes of their shingles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.hash_sets import cleared, contains, insert
from winnow.algorithms.dedup.minhash import shingle_sets
from winnow.algorithms.dedup.shingle_hashes import Unit
from winnow.numeric.compiled import compiled

# Pairs whose sets are in memory at a time, per thread.
_PAIRS_AT_ONCE = 1 << 17


def text_similarity(
    texts: pa.Array | pa.ChunkedArray,
    *,
    ngram: int = 5,
    unit: Unit = "word",
    normalise: Iterable[str] = (),
    threads: int = 1,
) -> Callable[
    [npt.NDArray[np.uint32], npt.NDArray[np.uint32]], npt.NDArray[np.float64]
]:
    """Return the function (left, right) → similarities of rows of `texts`.

    For `verification.decide`. Shingles are those of `minhash.shingle_sets`, whose
    arguments these are, by their XXH64; only rows of a pair are hashed, and the sets
    of a bounded number of pairs are in memory at a time.
    """
    rules = tuple(normalise)

    def of_block(
        block: npt.NDArray[np.int64], left: npt.NDArray[Any], right: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        ends = np.concatenate([left[block], right[block]])
        rows, local = np.unique(ends, return_inverse=True)
        bounds, hashes = shingle_sets(
            _taken(texts, rows), ngram=ngram, unit=unit, normalise=rules
        )
        out: npt.NDArray[np.float64]
        out = jaccard(bounds, hashes, local[: len(block)], local[len(block) :])
        return out

    def similarity(
        left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.float64]:
        # Runs of equal keepers share one table.
        order = np.lexsort((left, right))
        cuts = np.arange(_PAIRS_AT_ONCE, len(order), _PAIRS_AT_ONCE)
        if threads > 1 and not len(cuts):
            cuts = np.linspace(0, len(order), threads + 1)[1:-1].astype(np.int64)
        blocks = np.split(order, cuts)
        out = np.empty(len(order))
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(lambda block: of_block(block, left, right), blocks)
            for block, part in zip(blocks, parts, strict=True):
                out[block] = part
        return out

    return similarity


def _taken(
    texts: pa.Array | pa.ChunkedArray, rows: npt.NDArray[np.int64]
) -> pa.Array | pa.ChunkedArray:
    """Return `texts` at the ascending `rows`."""
    if isinstance(texts, pa.Array):
        return texts.take(pa.array(rows))
    # Arrow's own `take` concatenates all chunks first: as much memory again.
    edges = np.cumsum([0, *map(len, texts.chunks)])
    cuts = np.searchsorted(rows, edges)
    parts = [
        chunk.take(pa.array(rows[first:last] - edge))
        for chunk, edge, first, last in zip(
            texts.chunks, edges[:-1], cuts[:-1], cuts[1:], strict=True
        )
    ]
    return pa.chunked_array(parts, texts.type)


@compiled
def jaccard(
    bounds: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    left: npt.NDArray[np.integer[Any]],
    right: npt.NDArray[np.integer[Any]],
) -> npt.NDArray[np.float64]:
    """Return the exact Jaccard similarity of sets `left[i]` and `right[i]`.

    Set i is `hashes[bounds[i] : bounds[i + 1]]`, each hash once. Two empty sets are
    equal: 1. Fastest where runs of pairs have the same `right`.
    """
    out = np.empty(len(left))
    table, mask = cleared(np.empty(64, dtype=np.uint64), 0)
    for i in range(len(left)):
        first, last = bounds[right[i]], bounds[right[i] + 1]
        if i == 0 or right[i] != right[i - 1]:
            table, mask = cleared(table, last - first)
            for j in range(first, last):
                insert(table, mask, hashes[j])
        size, shared = last - first, 0
        for j in range(bounds[left[i]], bounds[left[i] + 1]):
            shared += 1 if contains(table, mask, hashes[j]) else 0
        size += bounds[left[i] + 1] - bounds[left[i]] - shared
        out[i] = shared / size if size else 1.0
    return out
