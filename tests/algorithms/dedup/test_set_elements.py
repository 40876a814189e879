"""Lists as sets: other elements are other words, and sketches are datasketch's."""

from __future__ import annotations

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup.minhash import shingle_sets, signatures
from winnow.algorithms.dedup.set_elements import as_words

from tests.examples import examples

ELEMENTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(list(" \\\t\n\r\x0b\x1c\x1f\x85\xa0\u2003\u2028\u3000es20;")),
    ),
    max_size=6,
)
ROWS = st.lists(st.none() | st.lists(st.none() | ELEMENTS, max_size=6), max_size=8)


@settings(max_examples=examples(60, 200), deadline=None)
@given(ROWS)
@example([["0\x0b0"]])
def test_each_element_is_one_word_of_its_own(rows: list):
    texts = as_words(pa.array(rows, pa.list_(pa.string()))).to_pylist()
    words_of: dict[str, str] = {}
    for row, text in zip(rows, texts, strict=True):
        if row is None:
            assert text is None
            continue
        elements = [element for element in row if element is not None]
        words = text.split()
        assert len(words) == len(elements)
        for element, word in zip(elements, words, strict=True):
            assert words_of.setdefault(element, word) == word
    assert len(set(words_of.values())) == len(words_of)


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=20), max_size=6))
def test_sketches_of_plain_elements_are_those_of_datasketch(rows: list):
    words = as_words(pa.array(rows, pa.list_(pa.int64())))
    sketches = signatures(words, num_perm=32, ngram=1)
    for row, signature in zip(rows, sketches, strict=True):
        sketch = datasketch.MinHash(num_perm=32)
        sketch.update_batch([str(element).encode() for element in row])
        assert np.array_equal(signature, sketch.hashvalues)
    bounds, _ = shingle_sets(words, ngram=1)
    assert np.diff(bounds).tolist() == [len(set(row)) for row in rows]


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.int32()), pa.large_list(pa.int32()), pa.list_(pa.int32(), 2)],
    ids=str,
)
def test_any_kind_of_list_and_slices_of_it(kind: pa.DataType):
    column = pa.array([[1, 2], None, [3, 4], [5, 6]], kind)
    assert as_words(column).to_pylist() == ["1 2", None, "3 4", "5 6"]
    assert as_words(column[2:]).to_pylist() == ["3 4", "5 6"]
    assert as_words(column[1:3]).to_pylist() == [None, "3 4"]


def test_what_is_no_list_of_plain_values_is_refused():
    with pytest.raises(TypeError, match="lists"):
        as_words(pa.array(["a"]))
    with pytest.raises(TypeError, match="plain"):
        as_words(pa.array([[{"a": 1}]]))
