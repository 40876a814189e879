"""Another threshold, counted: as what decides anew finds it, and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.config.step_kinds import STEPS, shown, step_of
from winnow.core.extensions import load_part
from winnow.reports.cut_settings import (
    Moved,
    bits,
    evaluation_distance,
    place,
    without_budget,
)
from winnow.reports.cuts import (
    RULES,
    StepScores,
    answer,
    kept_before,
    nearest_to,
    share_counts,
    shares,
    step_scores,
)

SCORE = st.one_of(st.none(), st.integers(0, 9).map(lambda i: i / 8))


@given(
    st.lists(SCORE, min_size=1, max_size=40),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(sorted(RULES)),
)
def test_counts_and_shares_are_those_of_brute_force(
    given_scores: list[float | None], cut: int, other: int, rule: str
):
    scores = np.array([np.nan if s is None else s for s in given_scores])
    now, then = (
        [s is not None and bool(RULES[rule](s, c / 8)) for s in given_scores]
        for c in (cut, other)
    )
    dropped = np.array(
        [s is not None and not k for s, k in zip(given_scores, now, strict=True)]
    )
    step = step_scores(scores, dropped, cut / 8)
    if not np.isfinite(scores).any():
        assert step is None
        return
    assert step is not None
    if step.rule != rule:
        # Another rule says the same of today, as far as there are rows.
        assert rows_at(step, step.passing(cut / 8)) == np.flatnonzero(now).tolist()
        return
    at_end = np.arange(len(scores)) % 2 == 0
    told = answer(step, other / 8, kept_before(step, at_end))
    gained = [i for i, (a, b) in enumerate(zip(now, then, strict=True)) if b and not a]
    lost = [i for i, (a, b) in enumerate(zip(now, then, strict=True)) if a and not b]
    assert rows_at(step, told.gained) == gained
    assert rows_at(step, told.lost) == lost
    assert (told.kept, told.kept_then) == (sum(now), sum(then))
    assert told.lost_at_end == sum(i % 2 == 0 for i in lost)
    codes = (np.arange(len(scores)) % 3).astype(np.int32)
    for one in shares(share_counts(step, codes, 3), told, [0, 1, 2], 3):
        rows = [i for i, s in enumerate(given_scores) if s is not None]
        mine = [i for i in rows if i % 3 == one.value]
        assert (one.rows, one.kept, one.kept_then) == (
            len(mine),
            sum(now[i] for i in mine),
            sum(then[i] for i in mine),
        )
    for side, rows in ((told.gained, gained), (told.lost, lost)):
        order = sorted(rows, key=lambda i: (abs(scores[i] - cut / 8), i))
        assert nearest_to(step, side, 3) == order[:3]


def rows_at(step: StepScores, places: range) -> list[int]:
    return sorted(step.order[list(places)].tolist())


def test_the_most_changed_values_come_first():
    # Value 2 loses two rows, 0 and 1 one each of three and of two.
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.9, 0.9, 0.9, np.nan])
    codes = np.array([2, 2, 1, 0, 0, 0, 1, 3], np.int32)
    step = step_scores(scores, np.zeros(8, np.bool_), 0.0)
    assert step is not None
    told = answer(step, 0.5, kept_before(step, np.ones(8, np.bool_)))
    counts = share_counts(step, codes, 4)
    names: list[object] = ["a", "b", "c", "d"]
    changes = [
        (one.value, one.rows, one.kept_then) for one in shares(counts, told, names, 9)
    ]
    assert changes == [("c", 2, 0), ("a", 3, 2), ("b", 2, 1)]
    assert [one.value for one in shares(counts, told, names, 2)] == ["c", "a"]
    assert told.lost_at_end == 4


def test_endless_scores_count_and_have_no_bar():
    scores = np.array([-np.inf, 0.0, 1.0, np.inf, np.nan])
    step = step_scores(scores, np.array([True, True, False, False, False]), 0.5)
    assert step is not None
    assert step.span == (0.0, 1.0)
    assert sum(rows for _, _, rows in step.bars()) == 2
    assert len(step.passing(0.5)) == 2
    assert len(step.passing(2.0)) == 1


def test_a_step_without_one_threshold_is_none():
    scores = np.array([0.1, 0.5, 0.9, np.nan])
    # Of equal scores a budget takes some: at the threshold itself, either may be.
    assert step_scores(scores, np.array([True, True, False, False]), 0.5) is not None
    assert step_scores(scores, np.array([True, False, False, False]), 0.5) is not None
    middle_gone = np.array([False, True, False, False])
    assert step_scores(scores, middle_gone, 0.4) is None
    only_gone = step_scores(scores, np.array([True, True, True, False]), 0.05)
    assert only_gone is not None
    assert only_gone.one_sided


def test_settings_make_the_score_the_threshold():
    budget_of = {"keep_count": 5, "keep_fraction": None}
    assert without_budget(Moved("score", budget_of, 2.5)) == [
        "score.keep_count=null",
        "score.threshold=2.5",
    ]
    # 58 of 64 bits are equal: dropped at 6 bits, kept at 5.
    assert bits(Moved("perceptual_hash", {}, 58 / 64)) == ["perceptual_hash.max_bits=6"]
    assert bits(Moved("perceptual_hash", {}, 0.91)) == ["perceptual_hash.max_bits=5"]
    assert bits(Moved("perceptual_hash", {}, 1.01)) == []
    assert place(Moved("balance", {"limit": 9, "keep_count": 3}, 5.0)) == []
    assert evaluation_distance(Moved("decontaminate", {"by": ["captions"]}, 0.5)) == []


@pytest.mark.parametrize("kind", STEPS.names())
@pytest.mark.parametrize("by", ["image_vectors", "perceptual_hash"])
def test_every_setting_that_is_named_exists(kind: str, by: str):
    part, section = shown(kind).cut, step_of(kind).section
    if part is None:
        return
    fields = load_part(section).model_fields
    for values in ({"keep_fraction": 1, "keep_count": 1}, {"by": [by]}):
        for change in load_part(part)(Moved(kind, values, 0.5)):
            assert change.partition("=")[0].removeprefix(f"{kind}.") in fields
