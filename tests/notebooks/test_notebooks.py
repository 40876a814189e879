"""The notebooks run from top to bottom, and show what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pyarrow as pa
import pytest
from nbclient import NotebookClient
from winnow.algorithms.prune.teacher_student import compare, theory

FOLDER = Path(__file__).parents[2] / "notebooks"
STEPS = ["exact", "embed", "cluster", "semantic", "score", "cluster", "complexity"]


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    make_picture: Callable[..., bytes],
    winnow: Callable[..., Any],
) -> Any:
    folder = tmp_path_factory.mktemp("notebooks")
    table = planted_table(120)
    pictures = pa.array([make_picture(i // 3 * 3) for i in range(len(table))])
    captions = pa.array([f"<script>alert({i})</script>" for i in range(len(table))])
    table = table.set_column(2, "image", pictures).set_column(1, "text", captions)
    pool = write_shards(folder / "pool", table)
    return winnow(pool, folder / "run", [*STEPS, "apply"], semantic={"epsilon": 0.05})


def execute(name: str, place: Path) -> tuple[str, str]:
    """Return what a notebook says as text, and as HTML."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    inside = place / "notebooks"
    inside.mkdir(exist_ok=True)
    folder = {"metadata": {"path": str(inside)}}
    NotebookClient(notebook, timeout=300, resources=folder).execute()
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    shown = [output.get("data", {}) for output in outputs]
    text = [o.get("text", o.get("data", {}).get("text/plain", "")) for o in outputs]
    markup = [d[k] for d in shown for k in ("text/html", "image/svg+xml") if k in d]
    return "\n".join(text), "\n".join(markup)


def test_exploring_a_run(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_RUN", str(run.path))
    text, markup = execute("01_explore_a_run", tmp_path)
    dropped = re.search(r"(\w{32}): dropped at (\w+)", text)
    assert dropped
    row = run.ledger(dropped[2])[dropped[1]]
    assert not row["keep"]
    assert f"its twin {row['kept_twin']} is" in text
    assert "largest-duplicate-groups" in markup
    assert markup.count("<img src=") >= 2
    assert "<script>" not in markup
    assert "&lt;script&gt;" in markup


def test_choosing_thresholds(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_RUN", str(run.path))
    before = run.files()
    text, markup = execute("02_choose_thresholds", tmp_path)
    assert markup.count("<svg") == 3
    assert "kept by both" in text
    assert "jaccard" in markup
    assert run.files() == before


def test_a_sweep_keeps_all_at_the_runs_own_setting(run: Any) -> None:
    import winnow

    as_it_is, wide = winnow.open(run.path).sweep("semantic.epsilon", [0.05, 0.3])
    assert as_it_is == {
        "value": 0.05,
        "kept": run.result.kept,
        "gained": 0,
        "lost": 0,
        "jaccard": 1.0,
    }
    assert wide["lost"] > 0
    assert wide["kept"] == run.result.kept + wide["gained"] - wide["lost"]


def test_simulation_lies_where_theory_does() -> None:
    pruned = [(1.0, "hard"), (0.2, "hard"), (0.2, "easy")]
    rows = compare([1, 4], pruned, students=4)
    assert [row["pruning"] for row in rows[::2]] == ["none", "hard 0.2", "easy 0.2"]
    for row in rows:
        gap = abs(row["simulated"] - row["theory"])
        assert gap < 4 * row["spread"] + 0.01, row
    (alone,) = compare([2], [(0.2, "hard")], students=0)
    assert (alone["pool"], alone["pruning"]) == (10, "hard 0.2")
    assert np.isclose(alone["theory"], theory(2, 0.2, "hard").error)
    assert "simulated" not in alone
