"""Buckets of one band after another, those of the same rows once.

Two rows that are alike share most of their bands, and a bucket of each would hold them:
as many times the memory, and nothing more to compare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.algorithms.dedup.banding import Buckets
from winnow.numeric.compiled import compiled

_LEAST_SLOTS = 64


class DistinctBuckets:
    """Takes buckets in any number of parts; of equal ones the first stays.

    Per distinct bucket 26 to 34 bytes, and 4 for each of its rows.
    """

    def __init__(self) -> None:
        self._count = 0
        self._bounds = np.zeros(1, np.int64)
        self._members = np.zeros(0, np.uint32)
        self._band = np.zeros(0, np.int16)
        self._hashes = np.zeros(0, np.uint64)
        self._table = np.full(_LEAST_SLOTS, -1, np.int32)

    @property
    def memberships(self) -> int:
        """Rows of all buckets, counted in each."""
        return int(self._bounds[self._count])

    def add(self, part: Buckets) -> None:
        """Add buckets; a bucket's members ascend."""
        most = self._count + len(part.band)
        self._bounds = _grown(self._bounds, most + 1)
        self._members = _grown(self._members, self.memberships + len(part.members))
        self._band = _grown(self._band, most)
        self._hashes = _grown(self._hashes, most)
        if 2 * most > len(self._table):
            slots = 1 << int(2 * most).bit_length()
            self._table = np.full(slots, -1, np.int32)
            _file(self._table, self._hashes, self._count)
        held = Buckets(self._bounds, self._members, self._band)
        self._count = _add(self._table, self._hashes, held, self._count, part)

    def buckets(self) -> Buckets:
        """Return what was added, in that order."""
        bounds = self._bounds[: self._count + 1]
        return Buckets(
            bounds.copy(),
            self._members[: bounds[-1]].copy(),
            self._band[: self._count].copy(),
        )


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if len(array) >= size:
        return array
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@compiled
def _file(
    table: npt.NDArray[np.int32], hashes: npt.NDArray[np.uint64], count: int
) -> None:
    """Put `count` buckets into an empty table by their hashes."""
    mask = uint64(len(table) - 1)
    for i in range(count):
        slot = hashes[i] & mask
        while table[slot] >= 0:
            slot = (slot + uint64(1)) & mask
        table[slot] = i


@compiled
def _add(
    table: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint64],
    held: Any,
    count: int,
    part: Any,
) -> int:
    """Append the buckets that are not there yet; return how many there are."""
    bounds, members, band = held
    new_bounds, new_members, new_band = part
    mask = uint64(len(table) - 1)
    for i in range(len(new_band)):
        first, size = new_bounds[i], new_bounds[i + 1] - new_bounds[i]
        value = uint64(size)
        for j in range(first, first + size):
            value = (value ^ uint64(new_members[j])) * uint64(0xFF51AFD7ED558CCD)
            value ^= value >> uint64(32)
        slot, known = value & mask, False
        while table[slot] >= 0 and not known:
            other = table[slot]
            start = bounds[other]
            known = hashes[other] == value and bounds[other + 1] - start == size
            j = 0
            while known and j < size:
                known = members[start + j] == new_members[first + j]
                j += 1
            slot = (slot + uint64(1)) & mask
        if not known:
            table[slot], hashes[count], band[count] = count, value, new_band[i]
            start = bounds[count]
            for j in range(size):
                members[start + j] = new_members[first + j]
            count += 1
            bounds[count] = start + size
    return count
