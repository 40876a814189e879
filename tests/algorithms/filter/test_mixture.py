import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.filter.mixture import (
    Scaling,
    integer_moments,
    mix,
    range_scaling,
    standard_scaling,
)

from tests.examples import examples

numbers = st.lists(
    st.integers(-(10**6), 10**6).map(lambda n: n / 997), min_size=2, max_size=60
)


def moments(values, to_unit, parts=1):
    mixed = [integer_moments(part, to_unit) for part in np.array_split(values, parts)]
    return tuple(map(sum, zip(*mixed, strict=True)))


@given(numbers, st.integers(1, 5), st.randoms())
@settings(max_examples=examples(20, 60), deadline=None)
def test_standard_scores_whatever_the_order_and_the_parts(values, parts, random):
    values = np.array(values)
    to_unit = range_scaling(values.min(), values.max())
    scaling = standard_scaling(len(values), *moments(values, to_unit), to_unit)
    shuffled = values.copy()
    random.shuffle(shuffled)
    again = standard_scaling(len(values), *moments(shuffled, to_unit, parts), to_unit)
    assert again == scaling
    if np.ptp(values) > 0:
        expected = (values - values.mean()) / values.std()
        np.testing.assert_allclose(scaling(values), expected, atol=1e-4)
    else:
        assert not scaling(values).any()


def test_range_maps_to_zero_and_one():
    scaling = range_scaling(-2.0, 6.0)
    assert scaling(np.array([-2.0, 2.0, 6.0])).tolist() == [0.0, 0.5, 1.0]
    assert range_scaling(3.0, 3.0)(np.array([3.0])).tolist() == [0.0]


def test_a_mixture_is_the_weighted_sum():
    terms = [np.array([1.0, 2.0, np.nan]), np.array([10.0, 20.0, 30.0])]
    mixed = mix(terms, [2.0, -0.5], [Scaling(1.0, 1.0), Scaling(0.0, 0.1)])
    assert mixed[:2] == pytest.approx([-0.5, 1.0])
    assert np.isnan(mixed[2])
