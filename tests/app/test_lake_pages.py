"""The pages of a scan of a lake."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake


def test_a_lake_is_browsed_view_by_view(
    tmp_path: Path, serve_run: Callable[[Path], Any]
):
    lake = tmp_path / "a 'lake' <b>"
    lake.mkdir()
    whole = pa.table({"id": range(120), "name": [f"n{i}" for i in range(120)]})
    pq.write_table(whole, lake / "whole <i>.parquet")
    for number in range(101):
        pq.write_table(whole.slice(number, 5), lake / f"part{number:03d}.parquet")
    input_path = f"input.path={lake}"
    api.scan(load_lake("table_lake", [input_path], str(tmp_path / "run")))
    client = serve_run(tmp_path / "run")

    start = client.ask("/").text
    assert "101 of 102 tables lie in another" in start
    assert "winnow lake plan" in start
    assert start.count("The query that gives it back") == 25
    assert "<b>" not in start
    api.open_lake(tmp_path / "run").plan()
    planned = serve_run(tmp_path / "run").ask("/").text
    assert "101 of 102 tables can go" in planned
    assert "winnow lake apply" in planned
    edges = client.ask("/view/edges").text
    assert set(re.findall(r'data-label="relation">(\w+)', edges)) == {"contained"}
    first = client.ask("/view/tables").text
    assert 'aria-current="page">tables</a>' in first
    assert "whole &lt;i&gt;.parquet" in first
    assert "<b>" not in first
    assert first.count("<tr>") == 1 + 15
    later = client.ask("/view/tables?after=80").text
    assert "part0" in later
    assert later.count("<tr>") == 1 + 15
    last = client.ask("/view/tables?after=100").text
    assert last.count("<tr>") == 1 + 2
    shown = client.ask("/view/edges?q=PART007.parquet+whole").text
    assert shown.count("<tr>") == 2
    assert "contained" in shown
    assert "part008" not in shown
    assert client.ask("/view/stages").status == 200
    for path in ("/view/samples", "/view/tables?after=x", "/view/..%2f", "/view/a;b"):
        assert client.ask(path).status in (400, 404)
    for attack in ("%27%20OR%201=1%20--", "%25", "%22)"):
        assert client.ask(f"/view/tables?q={attack}").text.count("<tr>") == 0
    assert client.ask("/row/1").status == 404
    assert client.ask("/", cookie="").status == 403


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_pages_of_a_lake_are_accessible_and_short(
    tmp_path: Path,
    serve_run: Callable[[Path], Any],
    visit: Callable[..., Any],
    width: int,
    dark: bool,
):
    (tmp_path / "lake").mkdir()
    name = "a_table_with_a_rather_long_name_of_many_parts"
    columns = {f"{name}_{i}": range(60) for i in range(30)}
    for number in range(16):
        table = pa.table(columns).slice(0, 60 - number)
        pq.write_table(table, tmp_path / "lake" / f"{name}_{number:03d}.parquet")
    api.scan(load_lake("table_lake", [f"input.path={tmp_path}/lake"], f"{tmp_path}/r"))
    api.open_lake(tmp_path / "r").plan()
    app = serve_run(tmp_path / "r")
    seen = visit(app.url, width=width, dark=dark)
    seen.page.wait_for_url(f"http://{app.netloc}/")
    for path in ("", "view/edges", "view/plan", "view/tables"):
        seen.page.goto(f"http://{app.netloc}/{path}")
        seen.page.wait_for_load_state("networkidle")
        assert (path, seen.serious()) == (path, [])
        assert (path, seen.too_wide()) == (path, [])
        assert len(set(seen.tab(6))) == 6
        tall = seen.page.evaluate("document.documentElement.scrollHeight")
        assert tall < (1_700 if width == 1280 else 3_500)
        # What is folded opens by key.
        fold = seen.page.locator("td summary").last
        fold.press("Enter")
        assert seen.page.locator("td details[open]").count() == 1
