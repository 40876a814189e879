"""Statistics of a column: merged without loss of soundness, kept without loss."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from winnow.lake.kernels.tables import ColumnStatistics

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, allow_infinity=False),
)
VALUES = st.one_of(NUMBERS, st.binary(), st.booleans())


@given(
    st.builds(
        ColumnStatistics,
        st.integers(0),
        st.none() | st.integers(0),
        *[st.none() | VALUES for _ in range(4)],
        st.booleans(),
    )
)
def test_json_keeps_every_value_and_its_type(statistics: ColumnStatistics):
    back = ColumnStatistics.from_json(json.loads(json.dumps(statistics.to_json())))
    assert repr(back) == repr(statistics)
    assert back == statistics


@st.composite
def row_groups(draw: st.DrawFn) -> tuple[list[int | None], ColumnStatistics]:
    """Values, and statistics that are true of them and tell more or less."""
    values = draw(st.lists(st.none() | st.integers(-5, 5), max_size=5))
    present = [value for value in values if value is not None]
    nulls = draw(st.sampled_from([None, len(values) - len(present)]))
    if not present:
        return values, ColumnStatistics(len(values), nulls)
    low = draw(st.none() | st.integers(-7, min(present)))
    high = draw(st.none() | st.integers(max(present), 7))
    certain = draw(st.booleans())
    return values, ColumnStatistics(
        *(len(values), nulls, low, high),
        min(present) if certain else None,
        max(present) if certain else None,
        has_value=certain or draw(st.booleans()),
    )


@given(st.lists(row_groups(), min_size=1, max_size=4))
def test_merged_statistics_are_true_of_all_rows(groups: list):
    values = [value for rows, _ in groups for value in rows]
    merged = ColumnStatistics(0, nulls=0)
    for _, statistics in groups:
        merged = merged.merged(statistics)
    present = [value for value in values if value is not None]
    assert merged.rows == len(values)
    assert merged.nulls in (None, len(values) - len(present))
    assert merged.low is None or all(merged.low <= value for value in present)
    assert merged.high is None or all(merged.high >= value for value in present)
    assert {merged.low_certain, merged.high_certain} <= {None, *present}
    assert present or not merged.has_value


def test_a_row_group_without_statistics_takes_the_bounds_and_leaves_what_occurs():
    known = ColumnStatistics(3, 0, 1, 9, 1, 9, has_value=True)
    merged = known.merged(ColumnStatistics(2))
    assert (merged.low, merged.high, merged.nulls) == (None, None, None)
    assert (merged.low_certain, merged.high_certain) == (1, 9)
    assert merged.has_value


def test_a_row_group_of_nulls_takes_nothing_away():
    known = ColumnStatistics(3, 0, 1, 9, 1, 9, has_value=True)
    merged = ColumnStatistics(2, nulls=2).merged(known)
    assert merged == ColumnStatistics(5, 2, 1, 9, 1, 9, has_value=True)
