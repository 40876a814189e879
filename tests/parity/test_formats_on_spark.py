"""Tars and folders of images on Spark: the local engine's decisions, kept in kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import winnow

from tests.flows.test_pools_of_every_format import as_csv, as_folders, as_tars
from tests.formats.tars import read


@pytest.mark.slow
@pytest.mark.parametrize("write", [as_tars, as_folders, as_csv])
def test_spark_reads_and_writes_what_one_machine_does(
    spark: Any,
    picture_table: Callable[..., pa.Table],
    read_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Any,
):
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    pool = tmp_path / "p"
    pool.mkdir()
    write(pool, picture_table(24).select(["uid", "image", "text", "url"]).to_pylist())
    runs = []
    for engine in ({"name": "local"}, {"name": "spark", "partitions": 3}):
        out = tmp_path / engine["name"]
        recipe = {
            "input": {"path": str(pool)},
            "output": {"path": str(out), "report": False},
            "engine": engine,
            "steps": ["exact", "apply"],
        }
        winnow.run(recipe, spark=spark if engine["name"] == "spark" else None)
        runs.append(out)
    here, there = (read_run(run) for run in runs)
    assert there.ledger("exact") == here.ledger("exact")
    local, remote = (read(run / "kept", ["uid", "text"]) for run in runs)
    assert sorted(remote, key=str) == sorted(local, key=str)
    assert 0 < len(local) < 25
