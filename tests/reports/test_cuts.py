"""Another threshold, counted: as what decides anew finds it, and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.config.step_kinds import STEPS, shown, step_of
from winnow.core.extensions import load_part
from winnow.reports.cut_settings import epsilon, without_budget
from winnow.reports.cuts import (
    RULES,
    answer,
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
        assert (step.passing(cut / 8) == np.array(now)).all()
        return
    at_end = np.arange(len(scores)) % 2 == 0
    told = answer(step, other / 8, at_end)
    gained = [i for i, (a, b) in enumerate(zip(now, then, strict=True)) if b and not a]
    lost = [i for i, (a, b) in enumerate(zip(now, then, strict=True)) if a and not b]
    assert (told.gained.tolist(), told.lost.tolist()) == (gained, lost)
    assert (told.kept, told.kept_then) == (sum(now), sum(then))
    assert told.lost_at_end == sum(i % 2 == 0 for i in lost)
    codes = (np.arange(len(scores)) % 3).astype(np.int32)
    for one in shares(share_counts(step, codes, 3), told, codes, [0, 1, 2], 3):
        rows = [i for i, s in enumerate(given_scores) if s is not None]
        mine = [i for i in rows if i % 3 == one.value]
        assert (one.rows, one.kept, one.kept_then) == (
            len(mine),
            sum(now[i] for i in mine),
            sum(then[i] for i in mine),
        )
    order = sorted(lost, key=lambda i: (abs(scores[i] - cut / 8), i))
    near = nearest_to(step, told.lost, 3)
    assert [abs(scores[i] - cut / 8) for i in near] == [
        abs(scores[i] - cut / 8) for i in order[:3]
    ]


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
    assert epsilon("semantic", {}, 0.93) == ["semantic.epsilon=0.07"]
    assert without_budget("score", {"keep_count": 5, "keep_fraction": None}, 2.5) == [
        "score.keep_count=null",
        "score.threshold=2.5",
    ]


@pytest.mark.parametrize("kind", STEPS.names())
def test_every_setting_that_is_named_exists(kind: str):
    part, section = shown(kind).cut, step_of(kind).section
    if part is None:
        return
    fields = load_part(section).model_fields
    for change in load_part(part)(kind, {"keep_fraction": 1, "keep_count": 1}, 0.5):
        assert change.partition("=")[0].removeprefix(f"{kind}.") in fields
