"""Rows of tables with vectors, moved as matrix rows: as Arrow moves them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.vectors import take_rows

WHOLE = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
VECTOR = pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array(WHOLE, VECTOR),
        pa.array(WHOLE, pa.list_(pa.field("number", pa.float64(), nullable=False), 2)),
        pa.array([[1.0, 2.0], None, [5.0, 6.0]], VECTOR),
        pa.array([[1.0, None], [3.0, 4.0], [5.0, 6.0]], VECTOR),
        pa.array([*WHOLE, *WHOLE], VECTOR).slice(2, 3),
        pa.array([[], [], []], pa.list_(pa.float32(), 0)),
        pa.chunked_array([pa.array(WHOLE[:1], VECTOR), pa.array(WHOLE[1:], VECTOR)]),
    ],
)
@pytest.mark.parametrize("rows", [[2, 0, 0], []])
def test_rows_are_those_that_arrow_takes(vectors: pa.Array, rows: list[int]) -> None:
    table = pa.table({"uid": ["a", "b", "c"], "v": vectors})
    table = table.cast(pa.schema([table.field(0), table.field(1)], {b"of": b"a pool"}))
    chosen = np.array(rows, np.int64)
    taken = take_rows(table, chosen)
    taken.validate(full=True)
    assert taken.equals(table.take(pa.array(chosen)), check_metadata=True)
