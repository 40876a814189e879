"""Lists of unequal lengths in a scratch file, read back some at a time.

Mapped into memory, a file counts as memory as soon as its pages are touched, and lists
that are asked for in no order touch them all. So stretches of it are read instead, and
what was asked for is copied out of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.numeric.compiled import compiled
from winnow.steps.array_file import ArrayFile

# Values that are read at a time, and those between two lists that are read with them.
_STRETCH_BYTES = 4 * 2**20
_GAP_BYTES = 64 * 2**10


class ListFile:
    """Lists of values of one type, known by their number.

    Where each begins and the last one ends, in values, is in a file beside them: what
    is held does not grow with the lists.
    """

    def __init__(self, file: Path, kind: npt.DTypeLike) -> None:
        self._file, self._kind = file, np.dtype(kind)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        bounds = file.with_name(f"{file.name}.bounds")
        self._bounds = ArrayFile.of(np.zeros(1, np.int64), str(bounds))
        self._lists, self._values = 0, 0

    def sizes(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return how many values some lists have."""
        first, last = self._ends(rows)
        return last - first

    def append(self, bounds: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
        """Add lists; list i is `values[bounds[i] : bounds[i + 1]]`."""
        if len(bounds) < 2:
            return
        with self._file.open("ab") as sink:
            values[bounds[0] : bounds[-1]].astype(self._kind, copy=False).tofile(sink)
        ends = bounds[1:].astype(np.int64) + (self._values - int(bounds[0]))
        self._bounds.write(self._lists + 1, ends)
        self._lists, self._values = self._lists + len(ends), int(ends[-1])

    def take(
        self, rows: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return (bounds, values) of some lists, in the order in which they are asked.

        May be called in several threads at once, while nothing is appended.
        """
        first, last = self._ends(rows)
        out_bounds = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(last - first, out=out_bounds[1:])
        out = np.empty(out_bounds[-1], self._kind)
        order = np.argsort(first, kind="stable")
        order = order[last[order] > first[order]]
        with self._file.open("rb") as source:
            for start, begin, end in self._stretches(first[order], last[order]):
                some = order[begin:end]
                stop = int(last[some].max())
                values = self._read(source, start, stop)
                ends = first[some] - start, last[some] - start
                _copy(values, *ends, out_bounds[some], out)
        return out_bounds, out

    def _ends(
        self, rows: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rows = rows.astype(np.int64)
        return self._bounds.at(rows), self._bounds.at(rows + 1)

    def _stretches(
        self, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, int, int]]:
        """Yield where to read from, and which of the ascending lists lie there."""
        gap = _GAP_BYTES // self._kind.itemsize
        most = _STRETCH_BYTES // self._kind.itemsize
        far = np.flatnonzero(first[1:] - last[:-1] > gap) + 1
        begin = 0
        while begin < len(first):
            end = int(np.searchsorted(last, first[begin] + most, "right"))
            end = max(end, begin + 1)
            near = int(np.searchsorted(far, begin, "right"))
            if near < len(far):
                end = min(end, int(far[near]))
            yield int(first[begin]), begin, end
            begin = end

    def _read(self, source: BinaryIO, start: int, stop: int) -> npt.NDArray[Any]:
        source.seek(start * self._kind.itemsize)
        return np.fromfile(source, self._kind, stop - start)


class TextFile(ListFile):
    """Strings in a scratch file, known by their number."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, np.uint8)

    def extend(self, texts: pa.Array) -> None:
        """Add an array of strings without nulls."""
        self.append(*bytes_of(texts))

    def texts(self, rows: npt.NDArray[Any]) -> pa.Array:
        """Return some strings, in the order in which they are asked."""
        bounds, values = self.take(rows)
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(values)]
        strings = pa.Array.from_buffers(pa.large_string(), len(rows), buffers)
        return strings.cast(pa.string())


def bytes_of(texts: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Return (bounds, bytes) of an array of strings without nulls."""
    if not len(texts):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    texts = texts.cast(pa.string())
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset :][: len(texts) + 1]
    return bounds, np.frombuffer(data or b"", np.uint8)


@compiled
def _copy(
    values: npt.NDArray[Any],
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    out: npt.NDArray[Any],
) -> None:
    """Copy each list from a stretch of the file to where it begins in `out`."""
    for i in range(len(first)):
        shift = target[i] - first[i]
        for j in range(first[i], last[i]):
            out[j + shift] = values[j]
