"""The notebook runs from top to bottom on a real run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
from nbclient import NotebookClient

import pipeline

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "look_at_a_run.ipynb"


def test_notebook_shows_duplicates_and_the_story_of_a_dropped_row(
    tmp_path: Path, monkeypatch
) -> None:
    captions = ["a red kite", "A  red kite", "a blue boat", "two green trees"]
    uids = [f"row{n}" for n in range(4)]
    pq.write_table(pa.table({"uid": uids, "text": captions}), tmp_path / "0.parquet")
    run = tmp_path / "run"
    pipeline.run(
        {
            "input": {
                "path": str(tmp_path / "0.parquet"),
                "columns": {"image": None},
            },
            "steps": ["exact"],
            "exact": {"by": ["caption"]},
            "output": {"path": str(run)},
        }
    )
    monkeypatch.setenv("WINNOW_RUN", str(run))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    text = "\n".join(
        output.get("text", output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert "duplicate_caption" in text
    assert "row1: dropped at exact" in text
    assert "its twin row0 is kept" in text
