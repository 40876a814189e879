"""What is known of each of many rows, by its number, in a file without a header.

Driver and workers read and write stretches of it, so that none of them holds it whole.
A map would not do: of rows in no order it soon counts as memory from end to end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import RunError

Numbers = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

#: Rows that are looked at together where all of them pass.
STRETCH_ROWS = 1 << 18
# Of rows so near in a file those between are read, too: a call takes longer.
_GAP_BYTES = 4096


@dataclass(frozen=True)
class ArrayFile:
    """The numbers or records of an array (n,) in a file.

    NumPy parses its own header as Python, which in CPython 3.11 fails now and then
    where several threads do so at once.
    """

    path: str
    kind: np.dtype[Any]

    @classmethod
    def of(cls, array: Records, path: str) -> ArrayFile:
        """Write an array."""
        array.tofile(path)
        return cls(path, array.dtype)

    @classmethod
    def blank(cls, path: str, kind: npt.DTypeLike, rows: int) -> ArrayFile:
        """Return a file of so many rows, all zero until they are written."""
        file = cls(path, np.dtype(kind))
        Path(path).write_bytes(b"")
        os.truncate(path, rows * file.kind.itemsize)
        return file

    def __len__(self) -> int:
        return os.path.getsize(self.path) // self.kind.itemsize

    def mapped(self) -> Records:
        """Return the array (n,), read as it is looked at."""
        if not os.path.getsize(self.path):
            return np.empty(0, self.kind)
        return np.memmap(self.path, self.kind, "r")

    def stretches(self) -> Iterator[tuple[int, Records]]:
        """Yield all rows, some at a time, and the number of the first of each."""
        for start in range(0, len(self), STRETCH_ROWS):
            yield start, self.read(start, min(len(self), start + STRETCH_ROWS))

    def read(self, start: int, stop: int) -> Records:
        """Return the rows from `start` to `stop` - 1; raises RunError past the end."""
        with open(self.path, "rb", buffering=0) as source:
            return self._read(source, start, stop)

    def at(self, numbers: Numbers) -> Records:
        """Return some rows, by their numbers in any order."""
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        out = np.empty(len(numbers), self.kind)
        near = _GAP_BYTES // self.kind.itemsize
        with open(self.path, "rb", buffering=0) as source:
            for first, last in _runs(ascending, max(1, near)):
                rows = ascending[first:last]
                start, stop = int(rows[0]), int(rows[-1]) + 1
                some = self._read(source, start, stop)
                out[order[first:last]] = some[rows - start]
        return out

    def write(self, start: int, records: Records) -> None:
        """Write rows from a number on."""
        data = _bytes(np.ascontiguousarray(records.astype(self.kind, copy=False)))
        with open(self.path, "r+b", buffering=0) as sink:
            sink.seek(start * self.kind.itemsize)
            while data:
                # The kernel takes, and gives, 2 GiB at most, and may take less.
                data = data[sink.write(data) :]

    def change(self, numbers: Numbers, **fields: npt.NDArray[Any]) -> None:
        """Set fields of some rows, by their numbers in any order."""
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        cuts = np.arange(0, len(self), STRETCH_ROWS)
        bounds = [*np.searchsorted(ascending, cuts).tolist(), len(order)]
        for first, last in pairwise(bounds):
            if first < last:
                rows, some = ascending[first:last], order[first:last]
                start = int(rows[0])
                part = self.read(start, int(rows[-1]) + 1)
                for name, values in fields.items():
                    part[name][rows - start] = values[some]
                self.write(start, part)

    def _read(self, source: FileIO, start: int, stop: int) -> Records:
        out = np.empty(max(0, stop - start), self.kind)
        source.seek(start * self.kind.itemsize)
        wanted = _bytes(out) if len(out) else None
        while wanted:
            given = source.readinto(wanted)
            if not given:
                raise RunError(f"{self.path}: ends before its row {stop:,}")
            wanted = wanted[given:]
        return out


def inverted(places: ArrayFile, path: str, size: int, held: int) -> ArrayFile:
    """Write which row each of `size` places is of, -1 where it is of none.

    places: (n,) of each row. held: how many places are worked on at a time; for each
    so many all of `places` are read.
    """
    numbers = ArrayFile.blank(path, np.int64, size)
    for first in range(0, size, held):
        part = np.full(min(held, size - first), -1, np.int64)
        for start, stretch in places.stretches():
            there = np.flatnonzero((stretch >= first) & (stretch < first + len(part)))
            part[stretch[there] - first] = start + there
        numbers.write(first, part)
    return numbers


def flags_of(
    file: ArrayFile, flag: Callable[[Records], npt.NDArray[np.bool_]]
) -> npt.NDArray[np.bool_]:
    """Return (n,) flags, a byte each, of the rows of a file."""
    flags = np.empty(len(file), np.bool_)
    for start, part in file.stretches():
        flags[start : start + len(part)] = flag(part)
    return flags


def _bytes(array: Records) -> memoryview:
    return array.view(np.uint8).data


def _runs(ascending: Numbers, gap: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where numbers follow one another, no further than `gap`.

    Those of a run lie in one stretch.
    """
    far = np.diff(ascending) > gap
    far |= np.diff(ascending // STRETCH_ROWS) > 0
    borders = np.flatnonzero(far) + 1
    yield from (
        (first, last)
        for first, last in pairwise([0, *borders.tolist(), len(ascending)])
        if first < last
    )
