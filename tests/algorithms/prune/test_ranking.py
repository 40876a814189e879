import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.prune.ranking import order, rank, top_mask

VALUES = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, np.inf, -np.inf, np.nan])


@st.composite
def rows(draw):
    uids = draw(st.lists(st.text(max_size=3), unique=True, max_size=20))
    values = draw(st.lists(VALUES, min_size=len(uids), max_size=len(uids)))
    return np.array(values, np.float64), uids


def sorted_by_python(values, uids, descending):
    def key(row):
        value = values[row]
        if np.isnan(value):
            return (True, 0.0, uids[row])
        return (False, -value if descending else value, uids[row])

    return sorted(range(len(uids)), key=key)


@given(rows(), st.booleans())
def test_order_is_by_value_then_uid_with_nan_last(rows, descending):
    values, uids = rows
    expected = sorted_by_python(values, uids, descending)
    assert order(values, uids, descending=descending).tolist() == expected


@given(rows(), st.booleans(), st.randoms(use_true_random=False))
def test_rank_does_not_depend_on_row_order(rows, descending, random):
    values, uids = rows
    shuffled = random.sample(range(len(uids)), len(uids))
    before = rank(values, uids, descending=descending)
    after = rank(
        values[shuffled], [uids[row] for row in shuffled], descending=descending
    )
    assert after.tolist() == before[shuffled].tolist()


@given(rows(), st.booleans(), st.integers(0, 25))
def test_top_mask_keeps_the_first_numbers(rows, descending, count):
    values, uids = rows
    mask = top_mask(values, uids, count, descending=descending)
    expected = sorted_by_python(values, uids, descending)[:count]
    expected = [row for row in expected if not np.isnan(values[row])]
    assert np.flatnonzero(mask).tolist() == sorted(expected)


def test_ties_go_to_the_smaller_uid_in_both_directions():
    values, uids = np.array([1.0, 1.0, 2.0]), pa.array(["b", "a", "c"])
    assert rank(values, uids, descending=True).tolist() == [2, 1, 0]
    assert rank(values, uids, descending=False).tolist() == [1, 0, 2]


def test_integer_keys_keep_all_their_bits():
    keys = np.array([2**63 + 1, 2**63, 5], np.uint64)
    assert order(keys, ["a", "b", "c"], descending=False).tolist() == [2, 1, 0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="2 values for 1 uids"):
        order(np.zeros(2), ["a"], descending=True)
    with pytest.raises(ValueError, match="null"):
        order(np.zeros(2), pa.array(["a", None]), descending=True)
    with pytest.raises(ValueError, match="0 or more"):
        top_mask(np.zeros(1), ["a"], -1, descending=True)
