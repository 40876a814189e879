"""The page of a run of which a step has dropped nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from winnow.reports.page.report import render_report


def test_a_step_that_drops_nothing_has_a_page(
    planted_pool: Path, tmp_path: Path, winnow: Callable[..., Any]
):
    run = winnow(
        planted_pool,
        tmp_path / "run",
        ["random", "apply"],
        random={"keep_fraction": 1.0},
    )
    assert run.result.kept == 200
    assert "Kept" in render_report(run.path)
