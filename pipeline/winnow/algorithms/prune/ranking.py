"""Orders and cuts that depend on values and uids, never on the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: A sequence of strings, or an Arrow array of them.
Uids: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
Values: TypeAlias = npt.NDArray[np.floating] | npt.NDArray[np.integer]


def order(values: Values, uids: Uids, *, descending: bool) -> npt.NDArray[np.int64]:
    """Return the rows from first to last, as an (n,) permutation.

    Ties go to the smaller uid (by code points), whichever way the values run; NaN comes
    last, also by uid. Raises ValueError if the lengths differ or a uid is missing.
    """
    column = _column(uids)
    if len(column) != len(values):
        raise ValueError(f"{len(values):,} values for {len(column):,} uids")
    if column.null_count:
        raise ValueError(f"{column.null_count:,} uids are null; every row needs one")
    table = pa.table({"value": pa.array(values), "uid": column})
    direction = "descending" if descending else "ascending"
    keys = [("value", direction), ("uid", "ascending")]
    sorted_rows = pc.sort_indices(table, sort_keys=keys)
    return np.asarray(sorted_rows, dtype=np.int64)


def rank(values: Values, uids: Uids, *, descending: bool) -> npt.NDArray[np.int64]:
    """Return each row's place in `order`: 0 is first."""
    places = np.empty(len(values), np.int64)
    places[order(values, uids, descending=descending)] = np.arange(len(values))
    return places


def top_mask(
    values: Values, uids: Uids, count: int, *, descending: bool
) -> npt.NDArray[np.bool_]:
    """Return which rows are among the first `count` of `order`; NaN never is.

    Fewer than `count` rows are kept when fewer values are numbers. Raises ValueError
    if `count` is negative.
    """
    if count < 0:
        raise ValueError(f"cannot keep {count} rows: give a count of 0 or more")
    first = order(values, uids, descending=descending)[:count]
    mask = np.zeros(len(values), np.bool_)
    mask[first] = True
    mask[np.isnan(values)] = False
    return mask


def _column(uids: Uids) -> pa.Array | pa.ChunkedArray:
    if isinstance(uids, pa.Array | pa.ChunkedArray):
        return uids
    return pa.array(uids, pa.string())
