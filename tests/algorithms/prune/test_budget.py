from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.prune.budget import budget_count


@pytest.mark.parametrize(
    ("rows", "fraction", "kept"),
    [
        (100, 0.29, 29),  # int(100 * 0.29) is 28
        (1000, 0.15, 150),
        (10, 0.3, 3),
        (7, 0.5, 3),
        (3, 1, 3),
        (3, 1.0, 3),
        (3, 0, 0),
        (0, 0.5, 0),
        (10**15, 1e-15, 1),
        (100, np.float32(0.29), 29),
        (100, Decimal("0.29"), 29),
    ],
)
def test_a_fraction_is_the_decimal_that_was_written(rows, fraction, kept):
    assert budget_count(rows, fraction=fraction) == kept


@given(st.integers(0, 10**12), st.integers(0, 10**6))
def test_every_fraction_of_six_decimals_is_exact(rows, millionths):
    expected = int(Fraction(millionths, 10**6) * rows)
    assert budget_count(rows, fraction=millionths / 10**6) == expected


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_count_is_itself_or_refused(rows, count):
    if count <= rows:
        assert budget_count(rows, count=count) == count
    else:
        with pytest.raises(ValueError, match="cannot keep"):
            budget_count(rows, count=count)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, 15, float("nan"), float("inf"), "x"])
def test_what_is_no_fraction_is_refused_with_a_remedy(fraction):
    with pytest.raises(ValueError, match=r"15 % is 0\.15"):
        budget_count(10, fraction=fraction)


def test_exactly_one_form_is_needed():
    with pytest.raises(ValueError, match="not both"):
        budget_count(10)
    with pytest.raises(ValueError, match="not both"):
        budget_count(10, fraction=0.5, count=5)


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="negative"):
        budget_count(-1, fraction=0.5)
    with pytest.raises(ValueError, match="cannot keep"):
        budget_count(10, count=-1)
