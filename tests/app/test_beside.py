"""Two runs side by side, as `diff` counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import winnow
from winnow.app.pages import page_of
from winnow.app.site import Site
from winnow.config.recipes import load
from winnow.reports.diff import diff


def test_two_runs_are_told_side_by_side(app: Any, app_run: Any, tmp_path: Path):
    lock = str(Path(app_run.path, "config.lock.yaml"))
    winnow.run(load(lock, ["semantic.epsilon=0.5"], str(tmp_path / "other")))
    assert app.ask("/beside").status == 404
    site = Site(app_run.path, None, tmp_path / "other")
    try:
        told = site.compared()
        expected = diff(app_run.path, tmp_path / "other", 24)
        assert {name: told[name] for name in expected} == expected
        assert told["kept"]["a"] != told["kept"]["b"]
        sides = (told["only_a"]["examples"], told["only_b"]["examples"])
        assert set(told["cards"]) == {row["uid"] for side in sides for row in side}
        page = bytes(page_of(site, "beside.html.j2", tab="/beside", **told).body)
        assert f"This run keeps {told['kept']['a']:,}".encode() in page
        assert b"<script>alert" not in page
    finally:
        site.close()
