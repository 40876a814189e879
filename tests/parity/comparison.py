"""Two runs compared by what they left: rows exactly, scores to 1e-5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def table(folder: Path) -> pa.Table:
    files = sorted(folder.glob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


def by_uid(folder: Path) -> dict[str, Mapping[str, Any]]:
    rows = table(folder).to_pylist()
    by_uid_rows = {row["uid"]: row for row in rows}
    assert len(by_uid_rows) == len(rows), f"a uid stands twice in {folder}"
    return by_uid_rows


def alike(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return abs(expected - found) <= 1e-5
    return bool(expected == found)


def assert_same(local: Path, spark: Path) -> None:
    """Compare ledgers row by row, what was kept in its order, and the accounts."""
    steps = sorted(step.name for step in (local / "ledger").iterdir())
    assert steps == sorted(step.name for step in (spark / "ledger").iterdir())
    for step in steps:
        expected, on_spark = (by_uid(run / "ledger" / step) for run in (local, spark))
        assert expected.keys() == on_spark.keys(), step
        for uid, row in expected.items():
            other = on_spark[uid]
            assert row.keys() == other.keys()
            assert all(alike(row[name], other[name]) for name in row), (row, other)
        assert table(local / "ledger" / step).schema.equals(
            table(spark / "ledger" / step).schema
        )
    kept, also = table(local / "kept"), table(spark / "kept")
    assert kept.equals(also)
    names = ["step", "rows_in", "kept", "dropped", "quarantined"]
    expected, on_spark = (
        pq.read_table(run / "steps.parquet", columns=names).to_pylist()
        for run in (local, spark)
    )
    assert expected == on_spark
    lost, also_lost = (table(run / "quarantine") for run in (local, spark))
    order = [("source", "ascending"), ("row", "ascending")]
    assert lost.sort_by(order).equals(also_lost.sort_by(order))
    subset = local / "subset.npy"
    assert subset.exists() == (spark / "subset.npy").exists()
    if subset.exists():
        assert subset.read_bytes() == (spark / "subset.npy").read_bytes()
