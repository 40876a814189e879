"""The pages of a scan of a lake."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
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
    assert first.count("<tr>") == 1 + 40
    later = client.ask("/view/tables?after=80").text
    assert "part0" in later
    assert later.count("<tr>") == 1 + 22
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
