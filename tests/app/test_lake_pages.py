"""The pages of a scan of a lake."""

from __future__ import annotations

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

    first = client.ask("/").text
    assert 'aria-current="page">tables</a>' in first
    assert "part000.parquet" in first
    assert "<b>" not in first
    assert first.count("<tr>") == 1 + 100
    later = client.ask("/view/tables?after=100").text
    assert "whole &lt;i&gt;.parquet" in later
    assert later.count("<tr>") == 1 + 2
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
