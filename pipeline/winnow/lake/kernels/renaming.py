"""Which column of a parent each column of a child is, whatever they are called.

A sample of the child's rows is looked up: columns are assigned one after another, and
an assignment goes on while every sampled row, taken at the columns assigned so far, is
a row of the parent at theirs. What is left is to be proven on all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.row_hash import hash_rows

#: Joint lookups of one pair of tables, at most.
_MOST_LOOKUPS = 2_000


def assignment(
    options: Mapping[str, Sequence[str]],
    child: Mapping[str, Hashes],
    parent: Mapping[str, Hashes],
) -> dict[str, str] | None:
    """Return the parent's column for each of the child's, or None.

    options: for each column of the child, in the order in which they are assigned, the
    parent's columns that it may be, best first. child, parent: hashes (n,) of each
    column of the sampled rows, and (m,) of the parent's rows that may equal one.
    """
    names = list(options)
    lookups = 0
    chosen: list[str] = []
    waiting = [iter(options[names[0]])]
    while waiting:
        column = next(waiting[-1], None)
        if column is None:
            waiting.pop()
            if chosen:
                chosen.pop()
            continue
        if column in chosen:
            continue
        lookups += 1
        if lookups > _MOST_LOOKUPS:
            return None
        tried = [*chosen, column]
        if not _all_held(
            [child[name] for name in names[: len(tried)]],
            [parent[name] for name in tried],
        ):
            continue
        if len(tried) == len(names):
            return dict(zip(names, tried, strict=True))
        chosen = tried
        waiting.append(iter(options[names[len(tried)]]))
    return None


def _all_held(child: Sequence[Hashes], parent: Sequence[Hashes]) -> bool:
    # Half of a hash: what it lets through by chance, the proof refutes.
    return bool(np.isin(hash_rows(child).hi, hash_rows(parent).hi).all())
