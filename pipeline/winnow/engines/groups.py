"""Tables and streams split into groups by an integer key; one splitter for all engines.

May import: core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from winnow.core.vectors import take


def split_groups(table: pa.Table, key: str) -> Iterator[pa.Table]:
    """Split a table by its integer column `key`, in ascending order of the key."""
    if not table.num_rows:
        return
    whole = table.combine_chunks().to_batches()
    values = whole[0].column(key).to_numpy()
    if int(values.max()) - int(values.min()) < 2**16:
        # NumPy sorts these by radix, several times faster.
        values = (values - values.min()).astype(np.uint16)
    order = np.argsort(values, kind="stable")
    borders = np.flatnonzero(np.diff(values[order])) + 1
    for rows in np.split(order, borders):
        yield pa.Table.from_batches([take(whole[0], rows)])


def whole_groups(batches: Iterable[pa.RecordBatch], key: str) -> Iterator[pa.Table]:
    """Cut a stream sorted by `key` into tables that hold all rows of their groups.

    Holds the last group of what has arrived and one batch, nothing more.
    """
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not len(batch):
            continue
        values = batch.column(key).to_numpy()
        start = int(np.searchsorted(values, values[-1]))
        if held and (start or held[-1].column(key)[-1].as_py() != values[0]):
            yield pa.Table.from_batches([*held, batch.slice(0, start)])
            held = []
        elif start:
            yield pa.Table.from_batches([batch.slice(0, start)])
        held.append(batch.slice(start))
    if held:
        yield pa.Table.from_batches(held)
