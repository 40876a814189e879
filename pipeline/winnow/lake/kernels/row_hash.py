"""Rows as 128-bit hashes: the hash of their values' hashes, in a stated order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from winnow.lake.kernels import murmur3
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.tables import Family


def hash_rows(columns: Sequence[Hashes]) -> Hashes:
    """Return the hashes `(n,)` of rows: MurmurHash3_x64_128 of 16 bytes per column.

    The columns come in an order that both sides of a comparison agree on. Each value
    takes its place in the sequence, so that (1, null) ≠ (null, 1) and
    ("a", "bc") ≠ ("ab", "c"). Two different rows among n have the same hash with a
    probability below n²/2^129 (see `canonical`). Raises ValueError without a column.
    """
    if not columns:
        raise ValueError("rows without a column cannot be told apart")
    first = columns[0].hi
    state = Hashes(np.zeros_like(first), np.zeros_like(first))
    for column in columns:
        murmur3.absorb(*state, *column)
    murmur3.finish(*state, len(columns))
    return state


def hash_batch(batch: pa.RecordBatch, families: Sequence[Family]) -> Hashes:
    """Return the hashes of a batch's rows, its columns as members of `families`."""
    pairs = zip(batch.columns, families, strict=True)
    return hash_rows([hash_values(column, family) for column, family in pairs])
