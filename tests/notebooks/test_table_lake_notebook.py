"""The notebook of a lake runs from top to bottom on a real scan."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_table_lake.ipynb"


def test_notebook_shows_stages_proofs_and_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, run = tmp_path / "lake", tmp_path / "run"
    lake.mkdir()
    whole = pa.table({"id": range(90), "name": [f"n{i % 7}" for i in range(90)]})
    near = pa.table({"id": [*range(60), 89], "name": ["n0"] * 61})
    pq.write_table(whole, lake / "whole.parquet")
    pq.write_table(whole.slice(8, 70), lake / "slice.parquet")
    pq.write_table(near, lake / "near.parquet")
    (lake / "torn.parquet").write_bytes(b"PAR1")
    winnow.run(
        {
            "flow": "table_lake",
            "input": {"path": str(lake)},
            "output": {"path": str(run)},
            "plan": {"maintenance_per_table": 1},
        }
    )
    monkeypatch.setenv("WINNOW_LAKE_RUN", str(run))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    shown = [
        "".join(
            output.get("text", output.get("data", {}).get("text/plain", ""))
            for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    tables, stages, relations, islands, story, near_misses, *plan, torn = shown
    planned, savings, going = plan
    assert "whole.parquet" in tables
    assert "min_max" in stages
    assert "contained" in relations
    assert "slice.parquet" in islands
    assert "slice.parquet in whole.parquet: contained (100% of its rows)" in story
    assert "all 70 distinct rows are in the parent" in story
    assert "near.parquet" in near_misses
    assert planned == "1"
    assert "slice.parquet" in savings
    assert "slice.parquet" in going
    assert "torn.parquet" in torn
