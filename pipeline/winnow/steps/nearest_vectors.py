"""What an index of vectors holds near one: exact cosines, best first.

Few rows, or few of those that may be found, are all compared. Of more, inverted lists
nominate (`models.inverted_lists`), made by the first question and kept beside the
index, where they are checked as its own files are. Either way each answer's cosine is
computed in float64 from the stored vectors.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import SLACK, cosines
from winnow.core.run_folder import remove, write_text
from winnow.indexes.checked_files import require_sound
from winnow.indexes.segment import DamagedIndex, stated
from winnow.indexes.vector_index import VectorIndex
from winnow.indexes.vector_segment import VectorSegment
from winnow.models.inverted_lists import Bits, InvertedLists, Passing, build_lists

#: Segments of so many rows at most, and so many passing rows, are compared whole.
EXACT_ROWS = 50_000
EXACT_PASSING = 25_000
_LISTS = "lists"
_BLOCK = 8_192

Singles = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Near(NamedTuple):
    """An answer: the row's name, its cosine, and the addition it came in."""

    uid: str
    cosine: float
    addition: int


class NearestVectors:
    """Questions to an index of vectors, its lists opened by the first that needs them.

    bits: of a number in the lists' codes: 16, 8, 6 or 4.
    """

    def __init__(self, index: VectorIndex, bits: Bits = 8) -> None:
        self.index, self._bits = index, bits
        self._lists: dict[str, InvertedLists] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def segments(self) -> list[VectorSegment]:
        """The index's segments, opened; a mask has a part for each."""
        return self.index.segments

    def near(
        self,
        query: Singles,
        k: int,
        passing: Sequence[Passing | None] | None = None,
        *,
        wider: int = 1,
    ) -> list[Near]:
        """Return the k rows of the largest cosine, largest first, ties by uid.

        query: (dim,), of any length above 0. passing: which rows of each segment may be
        found; None: all that stand. wider: so many times the usual lists, for a
        question that is unlike the rows.
        """
        question = (query / np.linalg.norm(query)).astype(np.float32)
        answers: list[Near] = []
        for number, segment in enumerate(self.segments):
            mask = passing[number] if passing else _standing(segment)
            rows = self._nominated(segment, question, k, mask, wider)
            answers += _answers(segment, rows, query)
        answers.sort(key=lambda near: (-near.cosine, near.uid))
        return answers[:k]

    def is_exact(self, passing: Sequence[Passing | None] | None = None) -> bool:
        """Whether all rows that may be found are compared, none passed over."""
        masks = passing or [_standing(segment) for segment in self.segments]
        return all(map(_compared_whole, self.segments, masks))

    def _nominated(
        self,
        segment: VectorSegment,
        question: Singles,
        k: int,
        passing: Passing | None,
        wider: int,
    ) -> Ids:
        if _compared_whole(segment, passing):
            return _all_compared(segment, question, k, passing)
        lists = self._lists.get(segment.name) or self._opened(segment)
        return lists.nominate(question, k, passing, wider=wider)

    def _opened(self, segment: VectorSegment) -> InvertedLists:
        """Open a segment's lists; make them if there are none, or damaged ones."""
        kept = _KeptLists(self.index.path / _LISTS, segment.name, self._bits)
        if not kept.is_sound():
            kept = self._made(kept, segment)
        lists = InvertedLists(kept.file)
        self._lists[segment.name] = lists
        return lists

    def _made(self, kept: _KeptLists, segment: VectorSegment) -> _KeptLists:
        try:
            kept.folder.mkdir(exist_ok=True)
            kept.forget_others({s.name for s in self.segments})
            kept.make(segment)
        except OSError:
            # An index that may only be read: the lists last as long as this process.
            self._scratch = self._scratch or tempfile.TemporaryDirectory("winnow")
            kept = _KeptLists(Path(self._scratch.name), segment.name, self._bits)
            kept.make(segment)
        return kept


class _KeptLists:
    """The files of a segment's lists, and what is noted about them."""

    def __init__(self, folder: Path, segment: str, bits: Bits) -> None:
        self.folder, self.name, self._bits = folder, f"{segment}-{bits}", bits
        self.file = folder / f"{self.name}.faiss"
        self._notes = folder / f"{self.name}.sealed.json"

    def files(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Return each file and what was noted of it when it was written."""
        noted = json.loads(self._notes.read_bytes())
        return [(self.folder / name, about) for name, about in noted.items()]

    def is_sound(self) -> bool:
        """Whether all files are there as they were written."""
        try:
            require_sound(self.folder, [self])
        except (DamagedIndex, OSError, ValueError, AttributeError):
            return False
        return True

    def make(self, segment: VectorSegment) -> None:
        """Write the lists; several processes may do so at once."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".tmp-") as scratch:
            build_lists(segment.vectors, Path(scratch, self.file.name), bits=self._bits)
            written = sorted(Path(scratch).iterdir())
            noted = {file.name: stated(file) for file in written}
            for file in written:
                os.replace(file, self.folder / file.name)
        write_text(self._notes, json.dumps(noted))

    def forget_others(self, segments: set[str]) -> None:
        """Remove the lists of segments that are no more."""
        for file in self.folder.glob("segment-*"):
            if file.name.rsplit("-", 1)[0] not in segments:
                with suppress(OSError):
                    remove(file)


def passing_rows(
    index: VectorIndex, masks: Sequence[npt.NDArray[np.bool_]]
) -> list[Passing | None]:
    """Return which rows of each segment may be found, of those that stand."""
    out: list[Passing | None] = []
    for segment, mask in zip(index.segments, masks, strict=True):
        standing = segment.standing(np.arange(segment.size))
        out.append(Passing(mask & standing))
    return out


def _compared_whole(segment: VectorSegment, passing: Passing | None) -> bool:
    count = segment.size if passing is None else len(passing.rows)
    return count <= EXACT_PASSING or segment.size <= EXACT_ROWS


def _standing(segment: VectorSegment) -> Passing | None:
    if segment.gone is None:
        return None
    return Passing(~segment.gone)


def _all_compared(
    segment: VectorSegment, question: Singles, k: int, passing: Passing | None
) -> Ids:
    """Return the rows whose cosine may be among the k largest, by products of all."""
    rows = np.arange(segment.size) if passing is None else passing.rows
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        block = (
            segment.vectors[start : start + len(part)]
            if passing is None
            else segment.vectors[part]
        )
        # Threads of a BLAS wait for each other longer than one product takes.
        scores[start : start + len(part)] = np.einsum(
            "ij,j->i", block.astype(np.float32), question
        )
    if len(rows) <= k:
        return rows
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    # Stored vectors are rounded to float16: their lengths differ from 1 by that much.
    near: Ids = rows[scores >= least - 2 * (SLACK + _ROUNDED)]
    return near


#: Half a unit in the last place of float16, relative: how far a length may be from 1.
_ROUNDED = 2.0**-11


def _answers(segment: VectorSegment, rows: Ids, query: Singles) -> list[Near]:
    vectors = segment.vectors[rows]
    exact = cosines(vectors, np.broadcast_to(query, vectors.shape))
    names, numbers = (segment.table.column(n) for n in ("uid", "addition"))
    usable = np.flatnonzero(np.isfinite(exact))
    return [
        Near(
            names[int(rows[i])].as_py(), float(exact[i]), numbers[int(rows[i])].as_py()
        )
        for i in usable
    ]
