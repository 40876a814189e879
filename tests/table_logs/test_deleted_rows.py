"""Deleted rows by value and by position, against looking at each row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from winnow.formats.table_rows import TableRows, restored_rows
from winnow.table_logs.iceberg_deletes import rows_among

_ROW = st.tuples(
    st.none() | st.integers(0, 3), st.none() | st.sampled_from("ab"), st.booleans()
)


def as_table(rows: list[tuple[object, ...]]) -> pa.Table:
    types = {"number": pa.int64(), "letter": pa.string(), "flag": pa.bool_()}
    columns = list(zip(*rows, strict=True)) or [()] * 3
    return pa.table(
        {n: pa.array(c, t) for (n, t), c in zip(types.items(), columns, strict=True)}
    )


@given(st.lists(_ROW), st.lists(_ROW))
def test_rows_are_deleted_by_all_their_values(
    rows: list[tuple[object, ...]], deleted: list[tuple[object, ...]]
):
    among = rows_among(as_table(rows), as_table(deleted))
    assert among.tolist() == [row in deleted for row in rows]


@given(st.sets(st.integers(0, 30)), st.integers(0, 40))
def test_rows_that_are_left_are_counted_in_files_order(gone: set[int], more: int):
    left = [row for row in range(31 + more) if row not in gone]
    numbers = np.array(sorted(gone), np.int64)
    given_rows = TableRows(deleted={"/t/0.parquet": numbers})
    # As a later look at the run knows them, by its manifest.
    for rows in (given_rows, restored_rows(given_rows.pinned())):
        wanted = np.arange(len(left))
        assert rows.in_file("/t/0.parquet", wanted).tolist() == left
        assert rows.in_file("/t/1.parquet", wanted).tolist() == wanted.tolist()
