"""Pools of other formats, and rows without uids, are decided on Spark as here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api

deltalake = pytest.importorskip("deltalake")

pytestmark = pytest.mark.slow


def test_copies_without_uids_in_a_partitioned_table(
    spark: Any, tmp_path: Path, read_run: Callable[..., Any]
):
    texts = [f"caption {i % 9}" for i in range(60)]
    table = pa.table(
        {"text": texts, "n": range(60), "part": [str(i % 2) for i in range(60)]}
    )
    deltalake.write_deltalake(tmp_path / "t", table, partition_by=["part"])
    runs = []
    for name, session in (("here", None), ("spark", spark)):
        recipe = {
            "input": {
                "path": str(tmp_path / "t"),
                "columns": {"uid": None, "image": None},
            },
            "output": {"path": str(tmp_path / name), "report": False},
            "steps": ["exact", "apply"],
            "exact": {"by": ["caption"]},
        }
        result = api.run(recipe, spark=session)
        assert (result.kept, result.dropped, result.quarantined) == (9, 51, 0)
        runs.append(read_run(tmp_path / name, result))
    assert runs[0].ledger("exact") == runs[1].ledger("exact")
    kept = [pq.read_table(run.path / "kept").sort_by("n") for run in runs]
    assert kept[0].equals(kept[1])
    for run in runs:
        assert deltalake.DeltaTable(run.path / "kept").to_pyarrow_table().num_rows == 9
