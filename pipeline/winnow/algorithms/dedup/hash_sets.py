"""Sets of 64-bit hashes in open-addressing tables that are cleared and used again.

A slot of 0 is empty, and the hash 0 is filed as 1: this confuses two hashes in 2⁶⁴,
which is no more than hashing itself does. Hashes are uniform, so their low bits are
the slot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.numeric.compiled import compiled

Hashes = npt.NDArray[np.uint64]


@compiled
def cleared(table: Hashes, count: int) -> tuple[Hashes, int]:
    """Return an empty table that takes `count` hashes, and the mask of its slots.

    `table` itself where it is large enough. At most a quarter of the slots gets filled.
    """
    size = 8
    while size < 4 * count:
        size *= 2
    if size > len(table):
        table = np.empty(size, dtype=np.uint64)
    table[:size] = 0
    return table, size - 1


@compiled(inline="always")
def slot_of(table: Hashes, mask: int, value: np.uint64) -> Any:
    """Return the slot that holds `value`, or the empty one where it belongs.

    The low bits of value·φ⁻¹, folded: for values that are no hashes themselves.
    """
    slot = value * uint64(0x9E3779B97F4A7C15)
    slot = (slot ^ (slot >> uint64(32))) & uint64(mask)
    while table[slot] != 0 and table[slot] != value:
        slot = (slot + uint64(1)) & uint64(mask)
    return slot


@compiled(inline="always")
def insert(table: Hashes, mask: int, value: np.uint64) -> bool:
    """Add `value`; say whether it was new."""
    filed = max(value, uint64(1))
    slot = filed & uint64(mask)
    while table[slot] != 0 and table[slot] != filed:
        slot = (slot + uint64(1)) & uint64(mask)
    new = bool(table[slot] == 0)
    # Written either way: a branch would be mispredicted.
    table[slot] = filed
    return new


@compiled(inline="always")
def contains(table: Hashes, mask: int, value: np.uint64) -> bool:
    """Say whether `value` is in the table."""
    filed = max(value, uint64(1))
    slot = filed & uint64(mask)
    while table[slot] != 0 and table[slot] != filed:
        slot = (slot + uint64(1)) & uint64(mask)
    return bool(table[slot] != 0)
