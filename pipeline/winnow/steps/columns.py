"""Scores that stand in the pool: functions for the step `custom`."""

from __future__ import annotations

import pyarrow as pa


def first(batch: pa.RecordBatch) -> pa.Array:
    """Return the first of the columns asked for, (n,), as it is.

    `custom: {function: winnow.steps.columns:first, columns: [my_score], …}`.
    """
    return batch.column(1)
