"""The app's thresholds: what `what-if` decides, told before it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from winnow.config.run import parse
from winnow.core.errors import QueryError
from winnow.flows.what_if import what_if
from winnow.handles.engine import make_engine


def test_the_steps_are_those_with_one_threshold(site: Any):
    assert site.cuts.names == ["semantic", "score"]
    assert not site.cuts.step("semantic").alone
    assert site.cuts.step("score").later == ["complexity"]
    with pytest.raises(QueryError, match="no step"):
        site.cuts.step("exact")


def test_the_step_keeps_what_the_changed_recipe_keeps(app_run: Any, site: Any):
    step = site.cuts.step("score")
    low, high = step.scores.span
    cut = round((step.scores.cut + high) / 2, 6)
    tried = site.cuts.tried("score", cut, "")
    told = what_if(app_run.path, tried.settings, make_engine)
    counts = {row["step"]: row for row in told["steps"]}["score"]
    assert tried.answer.kept == counts["kept_a"]
    assert tried.answer.kept_then == counts["kept_b"]
    assert low < cut < high


def test_the_page_and_its_part_say_the_same(app: Any, site: Any):
    step = site.cuts.step("semantic")
    low, high = step.scores.span
    middle = (low + high) / 2
    asked = f"step=semantic&cut={middle}&by=input.Kind%20of%20%22it%22%20%27x%27"
    page, part = app.ask(f"/cuts?{asked}"), app.ask(f"/cuts/answer?{asked}")
    assert (page.status, part.status) == (200, 200)
    assert part.text.strip() in page.text
    assert "&lt;script&gt;alert" in part.text
    assert "<script>alert" not in part.text
    kept = site.cuts.tried("semantic", middle, "").answer.kept_then
    assert f"{kept:,}</span> kept of those scored" in part.text
    assert "--set semantic.epsilon=" in part.text


def test_the_recipe_is_the_runs_with_that_threshold(app: Any, app_run: Any):
    answer = app.ask("/cuts/recipe.yaml?step=semantic&cut=0.75")
    assert answer.headers["content-disposition"].startswith("attachment")
    changed = yaml.safe_load(answer.text)
    lock = yaml.safe_load(Path(app_run.path, "config.lock.yaml").read_text())
    assert changed["semantic"].pop("epsilon") == 0.25
    assert lock["semantic"].pop("epsilon") != 0.25
    assert changed["semantic"] == lock["semantic"]
    parse({**changed, "semantic": {**changed["semantic"], "epsilon": 0.25}})


@pytest.mark.parametrize("asked", ["step=no", "step=score&cut=x", "cut=nan", "by=no"])
def test_what_is_no_threshold_is_told(app: Any, asked: str):
    assert app.ask(f"/cuts?{asked}").status == 400
    assert app.ask(f"/cuts/answer?{asked}").status == 400
