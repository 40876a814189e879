"""What the commands say of a small lake, and of tables that it lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main
from winnow.core.errors import did_you_mean


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lakes")
    lake, run = folder / "lake", folder / "run"
    lake.mkdir()
    whole = pa.table({"id": range(50), "name": [f"n{i % 9}" for i in range(50)]})
    pq.write_table(whole, lake / "whole.parquet")
    pq.write_table(whole.slice(10, 20), lake / "part.parquet")
    (lake / "broken.parquet").write_bytes(b"PAR1 but no table")
    assert main(["lake", "scan", str(lake), "--out", str(run)]) == 0
    return run


def test_steps_of_a_scan_are_its_stages(
    scanned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["steps", str(scanned)]) == 0
    lines = capsys.readouterr().out.splitlines()
    stages = pq.read_table(scanned / "stages.parquet").to_pylist()
    assert [line.split()[0] for line in lines[1:]] == [row["stage"] for row in stages]
    assert main(["steps", str(scanned), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stages


def test_explain_answers_for_tables_like_lake_explain(
    scanned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for pair in (["part.parquet"], ["part.parquet", "whole.parquet"]):
        assert main(["explain", str(scanned), *pair]) == 0
        told = capsys.readouterr().out
        assert main(["lake", "explain", str(scanned), *pair]) == 0
        assert capsys.readouterr().out == told
    assert "all 20 distinct rows are in the parent" in told


def test_a_scan_says_what_it_read_and_what_it_could_not(
    scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, lake = tmp_path / "run", scanned.parent / "lake"
    shutil.copytree(scanned, run)
    arguments = ["lake", "scan", str(lake), "--out", str(run)]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    sizes = [file.stat().st_size for file in lake.iterdir()]
    assert answer["bytes"] == sum(sizes)
    assert list(answer["reasons"]) == ["broken.parquet"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert told.startswith("broken.parquet: ")
    assert "3 tables of " in told
    assert ", 0 B read; " in told


def test_an_unknown_table_is_named_with_what_there_is(
    scanned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(scanned), "whole"]) == 1
    assert "did you mean 'whole.parquet'?" in capsys.readouterr().err


def test_a_hint_lists_some_of_many_words() -> None:
    hint = did_you_mean("x", [f"table-{i:05}" for i in range(5_000)])
    assert hint.startswith("known: table-00000, ")
    assert hint.endswith(" and 4,960 more")
    assert did_you_mean("x", ["b", "a"]) == "known: a, b"
