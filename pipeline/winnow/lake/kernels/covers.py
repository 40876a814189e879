"""Tables whose rows lie in several others: by sketches who may hold them, then a cover.

One-sided like every sketch here: a hash of the child that each candidate would have to
keep, and none does, refutes that they hold the child together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from winnow.lake.kernels.kmv import Kmv
from winnow.lake.kernels.tables import ColumnStatistics

Ints = npt.NDArray[np.int64]


def absent_everywhere(child: Kmv, parents: Sequence[Kmv]) -> int:
    """Return how many hashes of the child's sketch are certainly in no parent.

    A parent's sketch would have to keep each hash up to its largest, or any if it is
    complete; of two hashes with one first half, either counts.
    """
    kept = np.concatenate([parent.hi for parent in parents])
    limits = [parent.hi[-1] for parent in parents if not parent.complete]
    sought = child.hi if not limits else child.hi[child.hi <= min(limits)]
    return int(np.isin(sought, kept, invert=True).sum())


def apart(one: ColumnStatistics, other: ColumnStatistics) -> bool:
    """Whether two columns certainly have no value in common, null included.

    Not to be asked of columns that may hold NaN, which bounds leave out.
    """
    if one.nulls != 0 and other.nulls != 0:
        return False
    pairs = ((one.high, other.low), (other.high, one.low))
    return any(None not in ends and ends[0] < ends[1] for ends in pairs)  # type: ignore[operator]


def cover(wanted: Ints, held: Mapping[int, Ints]) -> list[int] | None:
    """Return tables that hold all wanted rows together, none of them for nothing.

    wanted (n,): how often each distinct row is needed; held: how often each table has
    it. The table that adds most is taken next, of equals the one with the least number
    (the greedy cover, at most ln n times the smallest: Chvátal, 1979), and those that
    the others make needless are left out, last taken first. None if all together do
    not hold them.
    """
    left, chosen = wanted.copy(), []
    rest = dict(held)
    while left.any():
        gains = {t: int(np.minimum(left, counts).sum()) for t, counts in rest.items()}
        best = min(gains, key=lambda t: (-gains[t], t), default=None)
        if best is None or not gains[best]:
            return None
        chosen.append(best)
        left = np.maximum(left - rest.pop(best), 0)
    for table in reversed(chosen.copy()):
        others = [held[t] for t in chosen if t != table]
        if others and (np.sum(others, axis=0) >= wanted).all():
            chosen.remove(table)
    return chosen
