"""The app's thresholds: what `what-if` decides, told before it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from winnow.app.site import Site
from winnow.config.run import parse
from winnow.core.errors import QueryError
from winnow.flows.what_if import what_if
from winnow.handles.engine import make_engine


def test_the_steps_are_those_with_one_threshold(site: Any):
    assert site.cuts.names == ["semantic", "score"]
    assert not site.cuts.step("semantic").alone
    assert site.cuts.step("score").later == ["complexity"]
    assert list(site.cuts.without) == ["exact", "complexity"]
    with pytest.raises(QueryError, match=r"exact has no threshold to try: .* no score"):
        site.cuts.step("exact")
    with pytest.raises(QueryError, match=r"complexity .* several thresholds"):
        site.cuts.step("complexity")
    with pytest.raises(QueryError, match="did you mean 'score'"):
        site.cuts.step("scores")


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


#: Steps that decide by a score of the row alone, with one setting that each is run by.
ALONE: dict[str, dict[str, Any]] = {
    "lines": {"action": "drop", "min_chars": 9, "drop_share": 0.6},
    "outliers": {"threshold": 0.2, "k": 4},
    "balance": {"limit": 30},
    "random": {"keep_fraction": 0.8},
    "order": {"keep_fraction": 0.8, "scope": "pool"},
}


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
) -> Any:
    """Return the pages of a run of such steps, over texts with a line in common."""
    table = planted_table(160)
    texts = [f"the same old line\n{'x' * (1 + i % 37)}{i}" for i in range(160)]
    table = table.set_column(1, "text", pa.array(texts))
    folder = tmp_path_factory.mktemp("alone")
    pool = write_shards(folder / "pool", table)
    order = ["lines", "embed", "cluster", "outliers", "balance", "random", "order"]
    run = winnow(pool, folder / "run", [*order, "apply"], cluster={"k": 4}, **ALONE)
    opened = Site(run.path)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_what_if_finds_what_the_page_counted(alone: Any, name: str, part: float):
    step = alone.cuts.step(name)
    low, high = step.scores.span
    tried = alone.cuts.tried(name, low + part * (high - low), "")
    told = what_if(alone.path, tried.settings, make_engine)
    counts = {row["step"]: row for row in told["steps"]}[name]
    unscored = counts["kept_a"] - tried.answer.kept
    assert tried.answer.kept_then + unscored == counts["kept_b"]
    assert tried.answer.kept_then != tried.answer.kept


def test_a_run_without_a_threshold_says_why(
    planted_pool: Path, tmp_path: Path, winnow: Any, serve_run: Any
):
    run = winnow(planted_pool, tmp_path / "run", ["exact", "apply"])
    page = serve_run(run.path).ask("/cuts")
    assert page.status == 200
    assert "No step of this run has one threshold" in page.text
    assert "exact</strong>: a row is in or out" in page.text


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
