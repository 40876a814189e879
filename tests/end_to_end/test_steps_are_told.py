"""Steps over columns, concepts, trees, orders, neighbours: told wherever rows are.

One run has them all; what its ledger holds is what `explain`, page and app tell.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import winnow as library
from winnow.app.site import Site
from winnow.config.step_kinds import shown
from winnow.reports.page.report import render_report

SETTINGS: dict[str, dict[str, Any]] = {
    "where": {"condition": "width > 50"},
    "top": {"column": "height", "keep_fraction": 0.9},
    "semantic": {"keeper": ["width desc"], "epsilon": 0.02},
    "outliers": {"k": 4, "keep_fraction": 0.9},
    "balance": {"limit": 20},
    "hierarchy": {"levels": [3], "keep_fraction": 0.8},
    "order": {"keep_fraction": 0.7},
}
STEPS = ["where", "top", "embed", "cluster", *list(SETTINGS)[2:]]
#: What would have kept a dropped row, by step.
WAYS_OUT = {
    "where": "a where.condition that is not false for it",
    "top": "a budget of ",
    "semantic": "semantic.epsilon",
    "outliers": "a budget of ",
    "balance": "balance.limit at least ",
    "hierarchy": "a budget of ",
    "order": "a budget of ",
}


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
) -> Any:
    folder = tmp_path_factory.mktemp("told")
    pool = write_shards(folder / "pool", planted_table(200))
    return winnow(pool, folder / "run", [*STEPS, "apply"], **SETTINGS)


@pytest.fixture(scope="module")
def site(run: Any) -> Iterator[Site]:
    opened = Site(run.path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(run: Any) -> str:
    return render_report(run.path)


def dropped_by(run: Any, step: str) -> list[dict[str, Any]]:
    """Return the step's dropped rows, the lowest score first."""
    rows = [row for row in run.ledger(step).values() if not row["keep"]]
    assert rows, f"{step} drops nothing here"
    return sorted(rows, key=lambda row: (row["score"] or 0.0, row["uid"]))


@pytest.mark.parametrize("step", SETTINGS)
def test_explain_says_why_and_what_would_have_kept_the_row(run: Any, step: str):
    row = dropped_by(run, step)[0]
    story = library.open(run.path).explain(row["uid"])
    assert (story["fate"], story["at_step"]) == ("dropped", step)
    last = story["steps"][-1]
    assert (last["step"], last["reason"]) == (step, row["reason"])
    assert last["meaning"]
    assert last["score"] == row["score"]
    assert WAYS_OUT[step] in last["would_be_kept"]


@pytest.mark.parametrize("step", SETTINGS)
def test_the_page_has_the_step_with_its_scores_and_reasons(
    run: Any, page: str, step: str
):
    start = page.index(f'id="step-{step}"')
    section = page[start : page.index("</section>", start)]
    about = shown(step)
    for row in dropped_by(run, step):
        assert row["reason"] in section
    if about.graded:
        assert f"Histogram of the {html.escape(about.scale)}" in section
    else:
        assert "<svg" not in section


@pytest.mark.parametrize("step", SETTINGS)
def test_the_app_lists_what_the_step_dropped(run: Any, site: Site, step: str):
    rows = dropped_by(run, step)
    listed = site.listing([("step", step), ("sort", "score"), ("dir", "asc")])
    assert listed["total"] == len(rows)
    scores = [row["score"] for row in listed["page"].rows]
    known = [row["score"] for row in rows if row["score"] is not None]
    assert [s for s in scores if s is not None] == pytest.approx(known[: len(scores)])
    told = dict(site.stories.of(listed["page"].rows[0]["n"])["steps"])
    assert WAYS_OUT[step] in told[step]


def test_outliers_are_ranked_on_the_page_and_in_the_app(
    run: Any, site: Site, page: str
):
    """On the page those nearest to the cut; in the app all, the lowest first."""
    ledger = run.ledger("outliers").values()
    start = page.index('id="step-outliers"')
    section = page[start : page.index("</section>", start)]
    for keep, title in ((False, "Dropped at the edge"), (True, "Kept at the edge")):
        sides = [row for row in ledger if row["keep"] == keep]
        sides.sort(key=lambda row: (abs(row["score"] - row["threshold"]), row["uid"]))
        gallery = section[section.index(title) :]
        uids = re.findall(r"[0-9a-f]{32}", gallery)
        assert list(dict.fromkeys(uids))[:3] == [row["uid"] for row in sides[:3]]
    (column,) = (c.name for c in site.index.columns if c.name.endswith("outliers"))
    asked = [("fate", "kept"), ("sort", column), ("dir", "asc")]
    listed = [row["uid"] for row in site.listing(asked)["page"].rows]
    kept = set(run.output()["uid"].to_pylist())
    lowest = sorted(
        (row for row in ledger if row["uid"] in kept), key=lambda row: row["score"]
    )
    assert listed == [row["uid"] for row in lowest[: len(listed)]]
