from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from winnow.algorithms.filter.rules import (
    Limits,
    first_failure,
)

# Gadre et al. 2023, arXiv 2304.14108, section 3.2.
DATACOMP_BASIC = Limits(
    min_words=3, min_chars=6, min_side=200, max_aspect=3.0, languages=("en",)
)
DATACOMP_BASIC_ANY_LANGUAGE = replace(DATACOMP_BASIC, languages=None)


def failure(caption="a b cd", width=300, height=300, language="en", limits=None):
    reasons, values, bounds = first_failure(
        pa.array([caption], pa.string()),
        pa.array([width], pa.int32()),
        pa.array([height], pa.int32()),
        pa.array([language], pa.string()),
        limits or DATACOMP_BASIC,
    )
    return reasons[0].as_py(), values[0], bounds[0]


# Facts page: the truth table of DataComp's basic filter.
@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ({"caption": "a b cd", "width": 200, "height": 600}, None),
        ({"width": 200, "height": 601}, "too_elongated"),
        ({"width": 601, "height": 200}, "too_elongated"),
        ({"width": 199, "height": 199}, "too_small"),
        ({"caption": "words words"}, "too_few_words"),
        ({"caption": "a b c"}, "too_few_chars"),
        ({"language": "de"}, "other_language"),
    ],
)
def test_truth_table_of_the_datacomp_basic_filter(sample, reason):
    assert failure(**sample)[0] == reason


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ({"caption": "two words"}, ("too_few_words", 2, 3)),
        ({"caption": None}, ("too_few_words", 0, 3)),
        ({"caption": "a b c"}, ("too_few_chars", 5, 6)),
        ({"width": 400, "height": 150}, ("too_small", 150, 200)),
        ({"width": 200, "height": 650}, ("too_elongated", 3.25, 3)),
    ],
)
def test_the_measured_number_and_its_bound_are_given(sample, expected):
    assert failure(**sample) == expected


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ({}, None),
        ({"width": None}, "unknown_size"),
        ({"height": None}, "unknown_size"),
        ({"language": None}, "unknown_language"),
        ({"language": "de"}, "other_language"),
    ],
)
def test_what_is_not_measured_has_no_number(sample, reason):
    failed, value, bound = failure(**sample)
    assert failed == reason
    assert np.isnan([value, bound]).all()


def test_upper_bounds_are_inclusive():
    limits = Limits(max_words=3, max_chars=9)
    assert failure("one two 3", limits=limits)[0] is None
    assert failure("1 2 3 4", limits=limits) == ("too_many_words", 4, 3)
    assert failure("one two 34", limits=limits) == ("too_many_chars", 10, 9)


def test_the_first_rule_in_order_is_the_reason():
    assert failure("x", 10, 1000, "de")[0] == "too_few_words"
    assert failure("long enough caption", 10, 1000, "de")[0] == "too_small"


def test_an_image_without_area_fails():
    assert failure(width=0, height=0, limits=Limits(max_aspect=3))[0] == "too_elongated"


def test_characters_are_code_points_and_words_split_at_any_white_space():
    assert failure("日本語 の　説明")[0] is None
    assert failure("日本語の説明文です")[0] == "too_few_words"
    assert failure("🦀 🦀 🦀")[0] == "too_few_chars"


def test_rows_are_judged_one_by_one_in_any_arrow_layout():
    captions = pa.chunked_array([["two words"], ["three whole words", None]])
    sides = pa.chunked_array([[300, 10], [10]], pa.uint16())
    reasons, values, bounds = first_failure(
        captions, sides, sides, None, DATACOMP_BASIC_ANY_LANGUAGE
    )
    assert reasons.to_pylist() == ["too_few_words", "too_small", "too_few_words"]
    assert values.tolist() == [2, 10, 0]
    assert bounds.tolist() == [3, 200, 3]


def test_rules_that_are_off_need_no_column():
    reasons, _, _ = first_failure(pa.array(["", "b"]), None, None, None, Limits())
    assert reasons.to_pylist() == [None, None]
    assert reasons.type == pa.string()
    with pytest.raises(ValueError, match="needs languages"):
        first_failure(pa.array(["a"]), None, None, None, Limits(languages=["en"]))
    with pytest.raises(ValueError, match="needs widths"):
        first_failure(pa.array(["a"]), None, None, None, Limits(min_side=1))


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"columns of \[2, 1, 1\] rows"):
        first_failure(
            pa.array(["a", "b"]), pa.array([1]), pa.array([1]), None, Limits(min_side=1)
        )
