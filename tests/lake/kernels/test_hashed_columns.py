"""Columns that come as dictionaries against the same values written out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from winnow.lake.kernels.hashed_columns import hashed_column, rows_of_columns
from winnow.lake.kernels.row_hash import hash_batch
from winnow.lake.kernels.table_sketch import Sizes, TableSketcher
from winnow.lake.kernels.tables import Family

TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab", "ü"])))
SIZES = Sizes(column=3, row=4, num_perm=16)


def coded(texts: list[str | None], index: pa.DataType) -> pa.DictionaryArray:
    """Return texts behind a dictionary that also holds what no row has."""
    values = ["unused", *sorted({t for t in texts if t is not None}), "neither"]
    numbers = [None if text is None else values.index(text) for text in texts]
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers, index), pa.array(values, pa.string())
    )


@given(TEXTS, st.sampled_from([pa.int8(), pa.int32(), pa.int64(), pa.uint32()]))
def test_each_value_is_hashed_once_with_its_rows(
    texts: list[str | None], index: pa.DataType
) -> None:
    plain = hashed_column(pa.array(texts, pa.string()), Family.TEXT)
    column = hashed_column(coded(texts, index), Family.TEXT)
    assert column.length == plain.length == len(texts)
    assert sorted(column.values.to_pylist()) == sorted({*texts} - {None})
    seen = list(zip(plain.hashes.hi.tolist(), plain.hashes.lo.tolist(), strict=True))
    assert column.coded is not None
    rows, repeats = column.coded.rows.tolist(), column.coded.repeats.tolist()
    pairs = zip(column.hashes.hi.tolist(), column.hashes.lo.tolist(), strict=True)
    told = dict(zip(pairs, zip(rows, repeats, strict=True), strict=True))
    assert told == {h: (seen.index(h), seen.count(h)) for h in seen}


@given(TEXTS)
def test_rows_hash_the_same(texts: list[str | None]) -> None:
    plain = pa.record_batch([pa.array(texts, pa.string())] * 2, names=["a", "b"])
    dictionary = coded(texts, pa.int32())
    columns = [hashed_column(a, Family.TEXT) for a in (dictionary, plain.column(1))]
    expected = hash_batch(plain, [Family.TEXT] * 2)
    for one, other in zip(rows_of_columns(columns), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=4))
def test_sketches_are_those_of_the_values(blocks: list[tuple[list, bool]]) -> None:
    made = []
    for as_codes in (False, True):
        sketcher = TableSketcher(["n", "t"], ["n", "t"], ["n", "t"], SIZES)
        first = 0
        for texts, some in blocks:
            column = (
                coded(texts, pa.int32())
                if as_codes and some
                else pa.array(texts, pa.string())
            )
            numbers = pa.array(range(len(texts)))
            batch = pa.record_batch([numbers, column], names=["n", "t"])
            sketcher.add(first, batch, [Family.NUMBER, Family.TEXT])
            first += len(texts)
        made.append(list(sketcher.sketches()))
    for plain, told in zip(*made, strict=True):
        for one, other in zip(plain.stack, told.stack, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(plain.minhash, told.minhash)
        assert plain[:3] == told[:3]
        assert plain.statistics == told.statistics
        assert plain.raw == told.raw
