"""What commands say beforehand, and what they leave in logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.cli.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    (folder / "pool").mkdir()
    texts = [f"text {n} of some words" for n in range(6)]
    rows = {"uid": list("abcdef"), "text": texts}
    pq.write_table(pa.table(rows), folder / "pool" / "a.parquet")
    winnow.run(
        {
            "input": {"path": str(folder / "pool"), "columns": {"image": None}},
            "output": {"path": str(folder / "run"), "report": False},
            "steps": ["random", "apply"],
            "random": {"keep_fraction": 0.5},
        }
    )
    return folder / "run"


def test_more_clusters_than_rows_are_told_before_work(
    vector_recipe: Callable[..., dict[str, Any]],
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    from winnow.config.run import parse
    from winnow.flows.plan import plan, tell

    pool = write_shards(tmp_path / "p", planted_table(12))
    steps = ["embed", "cluster", "apply"]
    recipe = vector_recipe(pool, tmp_path / "r", steps, cluster={"k": 40})
    said = "cluster.k: 40 clusters are asked for, and the pool has 12 rows"
    assert said in tell(plan(parse(recipe)))
    winnow.run(recipe)
    assert said in caplog.text
    recipe["cluster"] = {"k": 12}
    assert plan(parse(recipe))["doubts"] == []


def test_the_demos_recipe_sends_to_the_demo(capsys: Capture):
    assert main(["run", "demo"]) == 2
    assert "did you mean `winnow demo`?" in capsys.readouterr().err


@pytest.mark.parametrize("files", [[], ["a.md", "b.md"]])
def test_a_lake_without_tables_is_no_lake(
    files: list[str], tmp_path: Path, capsys: Capture
):
    (tmp_path / "lake").mkdir()
    for name in files:
        (tmp_path / "lake" / name).write_text("words")
    words = ["lake", "scan", str(tmp_path / "lake"), "--out", str(tmp_path / "r")]
    assert main(words) == 3
    told = capsys.readouterr().err
    assert "there is no table in it" in told
    assert ("2 .md" in told) == bool(files)


def test_a_lake_whose_tables_are_gone_leaves_the_scan_of_before(
    tmp_path: Path, capsys: Capture
):
    lake = tmp_path / "lake"
    lake.mkdir()
    pq.write_table(pa.table({"a": [1, 2]}), lake / "a.parquet")
    words = ["lake", "scan", str(lake), "--out", str(tmp_path / "r")]
    assert main(words) == 0
    (lake / "a.parquet").unlink()
    assert main(words) == 3
    capsys.readouterr()
    assert main(["query", str(tmp_path / "r"), "SELECT * FROM tables", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["table"] == "a.parquet"


def test_query_lists_every_view_with_its_columns(run: Path, capsys: Capture):
    assert main(["query", str(run), "--list"]) == 0
    listed = capsys.readouterr().out.partition("views")[2]
    for view in ("index_places", "measured", "neighbours", "samples", "vectors"):
        assert f"\n{view}: uid VARCHAR" in listed


def test_index_and_export_write_logs(run: Path, tmp_path: Path):
    index = tmp_path / "index"
    assert main(["index", "build", str(run), "--out", str(index)]) == 0
    assert main(["index", "remove", str(index), "--uid", "zz"]) == 0
    told = (index / "winnow.log").read_text()
    assert f"add ('{run}',)" in told
    assert "remove: 0 of 1 uids" in told
    out = tmp_path / "x.txt"
    assert main(["export", str(run), "--to", "uids", "--out", str(out)]) == 0
    assert f"export --to uids: 3 rows to {out}" in (run / "winnow.log").read_text()


@pytest.mark.slow
def test_the_app_tells_a_program_its_address(run: Path):
    words = [sys.executable, "-m", "winnow", "ui", str(run), "--no-browser", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        told = json.loads(app.stdout.readline())
        os.kill(told["pid"], signal.SIGINT)
        assert app.wait(60) == 0
    assert told["run"] == str(run)
    assert told["url"].startswith("http://127.0.0.1:")
