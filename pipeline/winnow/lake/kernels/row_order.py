"""By which columns rows were sorted, told from their order alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

#: A column, whether it falls, whether nulls come first.
SortKey = tuple[str, bool, bool]

_MOST_KEYS = 3


def sort_keys(
    positions: Ints, columns: Callable[[], Iterable[tuple[str, pa.ChunkedArray]]]
) -> tuple[SortKey, ...] | None:
    """Return the columns that sort rows into their order, or None.

    positions (n,): where the rows stand before they are sorted; rows that no key tells
    apart keep that order. columns: gives each column's values (n,) in the sorted order.
    """
    keys: list[SortKey] = []
    # Rows i and i + 1 are equal by all keys so far.
    tied = np.ones(max(len(positions) - 1, 0), np.bool_)
    rising = np.diff(positions) > 0
    while not rising[tied].all():
        if len(keys) == _MOST_KEYS:
            return None
        best: tuple[SortKey, npt.NDArray[np.bool_]] | None = None
        for name, column in columns():
            key, steps = _steps(name, column, tied)
            if key is None or any(name == known for known, *_ in keys):
                continue
            left = tied & (steps == 0)
            if rising[left].all():
                best = key, left
                break
            if best is None or left.sum() < best[1].sum():
                best = key, left
        if best is None or best[1].sum() == tied.sum():
            return None
        keys.append(best[0])
        tied = best[1]
    return tuple(keys)


def _steps(
    name: str, column: pa.ChunkedArray, tied: npt.NDArray[np.bool_]
) -> tuple[SortKey | None, Ints]:
    """Return how a column sorts rows that are tied, and from row to row its steps."""
    nothing = np.zeros(len(tied), np.int64)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        return None, nothing  # Libraries do not agree where NaN stands.
    whole = column.combine_chunks()
    try:
        ranks = pc.rank(whole, sort_keys="ascending", tiebreaker="dense")
    except (pa.ArrowException, TypeError):
        return None, nothing
    last = ranks.to_numpy(zero_copy_only=False).astype(np.int64)
    missing = whole.is_null().to_numpy(zero_copy_only=False)
    for first, placed in ((False, last), (True, np.where(missing, 0, last))):
        steps = np.diff(placed)
        within = steps[tied]
        if (within >= 0).all():
            return (name, False, first), steps
        if (within <= 0).all():
            return (name, True, not first), steps
    return None, nothing
