"""Inverted lists over many vectors: the nearest of those that a mask lets pass.

FAISS' IVF (Jégou et al. 2011, "Product Quantization for Nearest Neighbor Search",
section IV) with the mask inside the search: rows that it does not let pass are neither
compared nor counted. Codes only nominate; who asks compares the vectors themselves.

How many lists are probed was measured when they were made. Of some of the vectors all
near ones are found exactly. Of those of rank r or better, a part of RECALL lies in the
first p(r) lists. Where a mask lets a share s of the rows pass, the k nearest of these
are about the k/s nearest of all, so p(k/s) lists are probed: more where the mask is
narrower. Where rows that pass are rare near the question, lists are added until as many
have been seen as there would be were they spread evenly.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from winnow.models.faiss_library import faiss_library

Halves = npt.NDArray[np.float16]
Singles = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
#: Bits of a number of a code.
Bits = Literal[4, 6, 8, 16]

#: The part of the near rows that lie in the lists that are probed.
RECALL = 0.995
#: Ranks for which that is measured, and with how many questions.
_RANKS, _QUESTIONS = (10, 20, 40, 80, 160, 320, 640), 250
#: Vectors that k-means is trained on, for each list; its iterations.
_TRAINED, _ITERATIONS = 64, 10
_BLOCK = 65_536
_NAMES = {4: "QT_4bit", 6: "QT_6bit", 8: "QT_8bit", 16: "QT_fp16"}
#: How many more rows than asked for codes nominate, which have lost some precision.
_NOMINATED = {4: 20, 6: 8, 8: 4, 16: 2}


@dataclass(frozen=True)
class Passing:
    """Which rows may be found: (n,) booleans, and what a search makes of them once."""

    mask: npt.NDArray[np.bool_]

    @cached_property
    def rows(self) -> Ids:
        """The rows that pass."""
        return np.flatnonzero(self.mask)

    @cached_property
    def packed(self) -> npt.NDArray[np.uint8]:
        """The mask with eight rows to a byte, as FAISS reads it."""
        return np.packbits(self.mask, bitorder="little")


def build_lists(vectors: Halves, file: Path, *, bits: Bits, seed: int = 0) -> None:
    """Write the inverted lists of unit vectors, (n, dim), mapped or not, to a file.

    Beside it go FILE.lists.npy, the list of each row, and FILE.json, what was measured.
    Takes about 20 s of a core for a million vectors of 256 numbers.
    """
    faiss = faiss_library()

    rows, dim = vectors.shape
    count = max(1, round(rows**0.5))
    # Product of unit vectors; centroids have unit length too.
    coarse = faiss.IndexFlatIP(dim)
    kind = getattr(faiss.ScalarQuantizer, _NAMES[bits])
    metric = faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(coarse, dim, count, kind, metric, False)
    index.cp.seed, index.cp.niter = seed, _ITERATIONS
    index.cp.spherical, index.cp.min_points_per_centroid = True, 1
    sample = _spaced(rows, _TRAINED * count)
    index.train(vectors[sample].astype(np.float32))
    lists = np.empty(rows, np.int32)
    for start, block in _blocks(vectors):
        _, nearest = coarse.search(block, 1)
        lists[start : start + len(block)] = nearest[:, 0]
        index.add_core(len(block), *_pointers(block, nearest))
    probes = _measured(vectors, index, lists)
    faiss.write_index(index, os.fspath(file))
    np.save(f"{file}.lists.npy", lists)
    about = {"bits": bits, "lists": count, "rows": rows, "probes": probes}
    Path(f"{file}.json").write_text(json.dumps(about))


def _pointers(block: Singles, nearest: Ids) -> tuple[Any, Any, Any]:
    faiss = faiss_library()

    lists = np.ascontiguousarray(nearest[:, 0])
    return faiss.swig_ptr(block), None, faiss.swig_ptr(lists)


class InvertedLists:
    """Inverted lists in a file, mapped into memory.

    file: as `build_lists` wrote it.
    """

    def __init__(self, file: Path) -> None:
        faiss = faiss_library()

        about = json.loads(Path(f"{file}.json").read_bytes())
        self.bits: Bits = about["bits"]
        self._probes: list[int] = about["probes"]
        read: Any = faiss.read_index
        self._index = read(os.fspath(file), faiss.IO_FLAG_MMAP)
        downcast: Any = faiss.downcast_index
        flat = downcast(self._index.quantizer)
        self._centroids: Singles = faiss.rev_swig_ptr(
            flat.get_xb(), self._index.nlist * self._index.d
        ).reshape(self._index.nlist, self._index.d)
        self._lists = np.load(f"{file}.lists.npy", mmap_mode="r", allow_pickle=False)
        self._sizes = np.bincount(self._lists, minlength=self._index.nlist)
        self._known: tuple[Passing, Ids] | None = None

    def nominate(
        self, query: Singles, k: int, passing: Passing | None, *, wider: int = 1
    ) -> Ids:
        """Return rows among which the k nearest to a unit vector are, nearly always.

        query: (dim,). passing: the rows that may be found; None: all. wider: so many
        times the lists that were measured, for questions unlike the rows.
        """
        sizes = self._sizes if passing is None else self._passing_sizes(passing)
        scores = np.einsum("ij,j->i", self._centroids, query)
        order = np.argsort(-scores, kind="stable")
        chosen = order[: self._enough(sizes[order], k, wider)]
        chosen = chosen[sizes[chosen] > 0].astype(np.int64)
        if not len(chosen):
            return np.zeros(0, np.int64)
        wanted = min(_NOMINATED[self.bits] * (k + 10), int(sizes[chosen].sum()))
        ids = self._searched(query, chosen, scores[chosen], wanted, passing)
        return ids[ids >= 0]

    def _searched(
        self,
        query: Singles,
        chosen: Ids,
        scores: Singles,
        wanted: int,
        passing: Passing | None,
    ) -> Ids:
        faiss = faiss_library()

        settings: dict[str, Any] = {"nprobe": len(chosen)}
        if passing is not None:
            selector: Any = faiss.IDSelectorBitmap
            settings["sel"] = selector(passing.packed)
        rows, cosines = np.empty(wanted, np.int64), np.empty(wanted, np.float32)
        given = (np.ascontiguousarray(array) for array in (query, chosen, scores))
        question, lists, near = (np.atleast_1d(array) for array in given)
        # The wrapper in Python has no place for parameters; what is beneath it has.
        self._index.search_preassigned_c(
            1,
            faiss.swig_ptr(question),
            wanted,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(near),
            faiss.swig_ptr(cosines),
            faiss.swig_ptr(rows),
            False,
            faiss.SearchParametersIVF(**settings),
        )
        return rows

    def _enough(self, sizes: Ids, k: int, wider: int) -> int:
        """Return how many lists to probe; sizes: their passing rows, nearest first."""
        rows, lists, total = int(self._sizes.sum()), len(sizes), int(sizes.sum())
        rank = k * rows / max(total, 1)
        level = int(np.searchsorted(_RANKS, rank))
        if level == len(_RANKS):
            return lists
        probes = wider * self._probes[level]
        seen = int(np.searchsorted(np.cumsum(sizes), probes * total / lists)) + 1
        return min(max(probes, seen), lists)

    def _passing_sizes(self, passing: Passing) -> Ids:
        if self._known is None or self._known[0] is not passing:
            lists = self._lists[passing.rows]
            self._known = (passing, np.bincount(lists, minlength=len(self._sizes)))
        return self._known[1]


def _measured(vectors: Halves, index: Any, lists: npt.NDArray[np.int32]) -> list[int]:
    """Return for each of _RANKS the lists that hold a part of RECALL of the nearest."""
    faiss = faiss_library()

    asked = _spaced(len(vectors), _QUESTIONS)
    questions = vectors[asked].astype(np.float32)
    count = min(_RANKS[-1] + 1, len(vectors))
    merge = faiss.ResultHeap(len(asked), count, keep_max=True)
    for start, block in _blocks(vectors):
        scores, rows = faiss.knn(
            questions, block, min(count, len(block)), faiss.METRIC_INNER_PRODUCT
        )
        merge.add_result(scores, rows + start)
    merge.finalize()
    _, order = index.quantizer.search(questions, index.nlist)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(index.nlist)[None], axis=1)
    # The first of the nearest is the question itself.
    nearest = np.take_along_axis(places, lists[merge.I[:, 1:]].astype(np.int64), axis=1)
    return [int(np.quantile(nearest[:, :rank], RECALL)) + 1 for rank in _RANKS]


def _spaced(rows: int, wanted: int) -> Ids:
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))


def _blocks(vectors: Halves) -> Iterator[tuple[int, Singles]]:
    for start in range(0, len(vectors), _BLOCK):
        yield start, vectors[start : start + _BLOCK].astype(np.float32)
