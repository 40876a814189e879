"""One round of proposals: every bucket's next centre against its other members.

Why rounds, and what they bound, is told in `verification`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.numeric.compiled import compiled


@compiled
def _centre(
    members: npt.NDArray[np.uint32],
    first: int,
    last: int,
    labels: npt.NDArray[Any],
    was_centre: npt.NDArray[np.bool_],
    used: npt.NDArray[np.int64],
) -> int:
    """Return where in `first` … `last` the first member without a centre's label is.

    With no such label left, the first member that was no centre; without one, -1.
    Negative labels are rows that were dropped. `used` has room for all centres.
    """
    count = 0
    for i in range(first, last):
        if was_centre[i]:
            used[count] = labels[members[i]]
            count += 1
    second_choice = -1
    for i in range(first, last):
        label = labels[members[i]]
        if label < 0 or was_centre[i]:
            continue
        fresh = True
        for j in range(count):
            fresh = fresh and used[j] != label
        if fresh:
            return i
        if second_choice < 0:
            second_choice = i
    return second_choice


@compiled
def elect(
    buckets: Any,
    active: npt.NDArray[np.int64],
    labels: npt.NDArray[Any],
    was_centre: npt.NDArray[np.bool_],
    rounds: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return the active buckets with a pair to compare, their centres, and the pairs.

    A centre is paired with every other standing row of another label.
    """
    bounds, members, _ = buckets
    used = np.empty(rounds, dtype=np.int64)
    kept, pairs = 0, 0
    centres = np.empty(len(active), dtype=np.int64)
    for bucket in active:
        first, last = bounds[bucket], bounds[bucket + 1]
        centre = _centre(members, first, last, labels, was_centre, used)
        if centre < 0:
            continue
        was_centre[centre] = True
        before, component = pairs, labels[members[centre]]
        for i in range(first, last):
            label = labels[members[i]]
            pairs += 1 if label >= 0 and label != component else 0
        if pairs > before:
            # In place: never ahead of the bucket that is being read.
            active[kept], centres[kept] = bucket, members[centre]
            kept += 1
    return active[:kept], centres[:kept], pairs


@compiled
def stars(
    buckets: Any,
    active: npt.NDArray[np.int64],
    centres: npt.NDArray[np.int64],
    labels: npt.NDArray[Any],
    pairs: int,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int16]]:
    """Return the keys of the elected buckets' pairs, and their bands."""
    bounds, members, bands = buckets
    keys = np.empty(pairs, dtype=np.uint64)
    band = np.empty(pairs, dtype=np.int16)
    count = 0
    for i in range(len(active)):
        bucket, centre = active[i], centres[i]
        for j in range(bounds[bucket], bounds[bucket + 1]):
            row = np.int64(members[j])
            if labels[row] >= 0 and labels[row] != labels[centre]:
                keys[count] = uint64(max(row, centre)) << uint64(32)
                keys[count] |= uint64(min(row, centre))
                band[count] = bands[bucket]
                count += 1
    return keys, band
