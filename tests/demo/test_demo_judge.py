"""The judge, on cases that are counted by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest
from winnow.demo.judge import DefectVerdict, StepVerdict, judge, render
from winnow.demo.pool import TRUTH


def _truth(*rows: tuple[str, str | None, str | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"uid": uid, "defect": defect, "original": original, "concept": "x"}
            for uid, defect, original in rows
        ],
        TRUTH,
    )


def _decisions(**steps: str) -> pa.Table:
    """`uid="step"`; an empty step means kept, `quarantine` quarantined."""
    fates = {"": "kept", "quarantine": "quarantined"}
    return pa.table(
        {
            "uid": list(steps),
            "step": [step or "apply" for step in steps.values()],
            "fate": [fates.get(step, "dropped") for step in steps.values()],
        }
    )


GOOD = ("g", None, None)


def test_each_class_and_step_counted_by_hand():
    truth = _truth(
        ("g1", None, None),
        ("g2", None, None),
        ("g3", None, None),
        ("g4", None, None),
        ("m1", "mismatched_caption", None),
        ("m2", "mismatched_caption", None),
        ("m3", "mismatched_caption", None),
        ("m4", "mismatched_caption", None),
        ("e1", "empty_file", None),
    )
    decisions = _decisions(
        e1="quarantine", m1="score", g1="score", m2="rules", m3="complexity",
        g2="complexity", g3="complexity", m4="", g4="",
    )  # fmt: skip
    verdict = judge(truth, decisions)
    assert verdict.defects == (
        DefectVerdict("mismatched_caption", 4, 2, 1, 1, "score"),
        DefectVerdict("empty_file", 1, 1, 0, 0, "quarantine"),
    )
    assert verdict.steps == (
        StepVerdict("quarantine", 1, 1, 0, False),
        StepVerdict("score", 2, 1, 1, False),
        StepVerdict("rules", 1, 1, 0, False),
        StepVerdict("complexity", 3, 1, 2, True),
    )
    assert (verdict.good, verdict.good_lost, verdict.good_beyond_budget) == (4, 1, 2)
    assert verdict.recall == 3 / 5
    assert verdict.defects[0].recall == 0.5
    assert verdict.steps[1].precision == 0.5


def test_a_copy_kept_instead_of_its_original_loses_nothing():
    truth = _truth(GOOD, ("c", "cropped_copy", "g"))
    verdict = judge(truth, _decisions(g="semantic", c=""))
    assert verdict.defects == (DefectVerdict("cropped_copy", 1, 1, 0, 0, "semantic"),)
    assert verdict.steps == (StepVerdict("semantic", 1, 1, 0, False),)
    assert verdict.good_lost == 0


def test_a_group_may_keep_one_member_and_further_ones_are_missed():
    copies = [("c1", "cropped_copy", "g"), ("c2", "resized_copy", "g")]
    truth = _truth(GOOD, *copies)
    kept_all = judge(truth, _decisions(g="", c1="", c2=""))
    assert [row.missed for row in kept_all.defects] == [1, 1]
    two_left = judge(truth, _decisions(g="semantic", c1="", c2=""))
    assert sum(row.caught for row in two_left.defects) == 1
    assert sum(row.missed for row in two_left.defects) == 1
    none_left = judge(truth, _decisions(g="score", c1="exact", c2="exact"))
    assert none_left.recall == 1
    assert none_left.good_lost == 1


def test_an_heir_that_the_budget_drops_was_still_caught():
    truth = _truth(GOOD, ("c", "near_copy", "g"))
    verdict = judge(truth, _decisions(g="semantic", c="prototypes"))
    assert verdict.defects == (DefectVerdict("near_copy", 1, 1, 0, 0, "semantic"),)
    assert (verdict.good_lost, verdict.good_beyond_budget) == (0, 1)
    assert verdict.steps == (
        StepVerdict("semantic", 1, 1, 0, False),
        StepVerdict("prototypes", 1, 0, 1, True),
    )


def test_an_original_left_out_by_the_budget_is_no_twin():
    truth = _truth(GOOD, ("c", "near_copy", "g"))
    verdict = judge(truth, _decisions(g="prototypes", c=""))
    assert verdict.defects == (DefectVerdict("near_copy", 1, 0, 0, 1, ""),)
    assert (verdict.good_lost, verdict.good_beyond_budget) == (0, 1)


def test_budget_steps_can_be_named():
    truth = _truth(GOOD, ("m", "mismatched_caption", None))
    verdict = judge(truth, _decisions(g="score", m="score"), budget_steps={"score"})
    assert verdict.good_lost == 0
    assert verdict.defects[0].by_budget == 1


def test_a_sample_without_a_decision_or_with_two_is_an_error():
    truth = _truth(GOOD, ("m", "mismatched_caption", None))
    with pytest.raises(ValueError, match="no decision"):
        judge(truth, _decisions(g=""))
    twice = pa.concat_tables([_decisions(g="exact", m=""), _decisions(g="score")])
    with pytest.raises(ValueError, match="exact and by score"):
        judge(truth, twice)


def test_kept_rows_of_several_steps_are_one_sample():
    truth = _truth(GOOD)
    verdict = judge(truth, pa.concat_tables([_decisions(g=""), _decisions(g="rules")]))
    assert verdict.good_lost == 1


def test_the_table_shows_every_class_and_step():
    truth = _truth(GOOD, ("m", "mismatched_caption", None), ("e", "empty_file", None))
    text = render(judge(truth, _decisions(g="complexity", m="score", e="")))
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("mismatched caption"))
    assert row.split()[2:] == ["1", "1", "100.0%", "0", "0", "score"]
    assert any(line.startswith("complexity (budget)") for line in lines)
    assert "50.0% of the planted defects" in lines[-1]
