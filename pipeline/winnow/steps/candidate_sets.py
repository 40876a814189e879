"""Exact similarity of candidate pairs, their texts read by reference when needed.

Only texts of a candidate pair are read again, once each; their shingle hashes go to a
scratch file, of which the comparison reads as many as it holds at a time, and so does a
hash of each text. Of each row 4 bytes stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.jaccard import jaccard
from winnow.core.hashing import keys
from winnow.formats.reader import single
from winnow.steps.array_file import ArrayFile
from winnow.steps.list_file import ListFile
from winnow.steps.sketching import Sketching, TextColumn, jaccard_threads

_PAIRS_AT_ONCE = 1 << 17
# Of their sets, or those of one pair.
_SETS_BYTES = 32 * 2**20
_REFERENCES_AT_ONCE = 65_536


def contents_of(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each text's bytes; a null text is an empty one."""
    return keys(text or "" for text in texts.to_pylist())


class CandidateSets:
    """Shingle sets of the rows of `places`, hashed on first use.

    `places` has `source` and `row` of each row; rows are its positions.
    """

    def __init__(
        self, places: pa.Table, texts: TextColumn, settings: Sketching, folder: Path
    ) -> None:
        self.compared = 0
        self._places, self._texts, self._settings = places, texts, settings
        self._slot = np.full(len(places), -1, dtype=np.int32)
        self._slots = 0
        self._sets = ListFile(folder / "shingles.u64", np.uint64)
        contents = np.zeros(0, np.uint64)
        self._contents = ArrayFile.of(contents, str(folder / "contents.u64"))

    def similarity(
        self, left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.float64]:
        """Return the exact Jaccard similarity of rows `left[i]` and `right[i]`."""
        self.compared += len(left)
        self._add(np.unique(np.concatenate([left, right])))
        # Runs of equal keepers share one table.
        order = np.lexsort((left, right))
        out = np.empty(len(order))

        def compare(piece: npt.NDArray[np.int64]) -> None:
            out[piece] = self._similarity(left[piece], right[piece])

        pieces = [
            piece
            for first in range(0, len(order), _PAIRS_AT_ONCE)
            for piece in self._pieces(left, right, order[first:][:_PAIRS_AT_ONCE])
        ]
        with ThreadPoolExecutor(jaccard_threads()) as pool:
            for _ in pool.map(compare, pieces):
                pass
        return out

    def _pieces(
        self,
        left: npt.NDArray[np.uint32],
        right: npt.NDArray[np.uint32],
        some: npt.NDArray[np.int64],
    ) -> list[npt.NDArray[np.int64]]:
        """Return which of some pairs are compared at a time."""
        both = self._sets.sizes(self._slot[left[some]])
        both += self._sets.sizes(self._slot[right[some]])
        values = np.cumsum(both) // (_SETS_BYTES // 8)
        return np.split(some, np.flatnonzero(np.diff(values)) + 1)

    def _similarity(
        self, left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.float64]:
        both = np.concatenate([left, right])
        rows, local = np.unique(both, return_inverse=True)
        bounds, hashes = self._sets.take(self._slot[rows])
        ends = local.astype(np.uint32)
        out: npt.NDArray[np.float64]
        out = jaccard(bounds, hashes, ends[: len(left)], ends[len(left) :])
        return out

    def same_text(
        self, left: npt.NDArray[Any], right: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Return whether rows `left[i]` and `right[i]` hold the very same text."""
        mine, theirs = self.contents(left), self.contents(right)
        same: npt.NDArray[np.bool_] = mine == theirs
        return same

    def contents(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
        """Return a hash of each row's text as it is, before any normalisation."""
        self._add(np.unique(rows).astype(np.uint32))
        slots = self._slot[rows.astype(np.int64)]
        return self._contents.at(slots.astype(np.int64))

    def sets_of(
        self, rows: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return (bounds, hashes) of a few distinct rows, in their order."""
        self._add(rows.astype(np.uint32))
        return self._sets.take(self._slot[rows.astype(np.int64)])

    def texts(self, rows: npt.NDArray[Any]) -> list[str]:
        """Return the texts of a few rows, in their order."""
        distinct, inverse = np.unique(rows, return_inverse=True)
        order = self._reading_order(distinct)
        read: list[str] = []
        for _, text, _, _ in self._texts.blocks(self._references(distinct[order])):
            read += [value or "" for value in text.to_pylist()]
        reading_rank = np.empty(len(order), dtype=np.int64)
        reading_rank[order] = np.arange(len(order))
        return [read[reading_rank[i]] for i in inverse]

    def _add(self, rows: npt.NDArray[np.uint32]) -> None:
        """Append the sets of the rows that have none yet."""
        fresh = rows[self._slot[rows] < 0]
        if not len(fresh):
            return
        fresh = fresh[self._reading_order(fresh)]
        last = self._slots + len(fresh)
        self._slot[fresh] = np.arange(self._slots, last, dtype=np.int32)
        for _, text, _, _ in self._texts.blocks(self._references(fresh)):
            self._sets.append(*self._settings.sets(text))
            self._contents.write(self._slots, contents_of(text))
            self._slots += len(text)

    def _reading_order(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        codes = single(self._places["source"]).indices.to_numpy()[rows]
        return np.lexsort((single(self._places["row"]).to_numpy()[rows], codes))

    def _references(self, rows: npt.NDArray[Any]) -> Iterator[pa.RecordBatch]:
        places = self._places.select(["source", "row"])
        for first in range(0, len(rows), _REFERENCES_AT_ONCE):
            part = rows[first : first + _REFERENCES_AT_ONCE].astype(np.int64)
            wanted = places.take(pa.array(part))
            yield pa.RecordBatch.from_pydict(
                {
                    "uid": pa.nulls(len(part), pa.string()),
                    "source": single(wanted["source"]).dictionary_decode(),
                    "row": single(wanted["row"]).cast(pa.int64()),
                }
            )
