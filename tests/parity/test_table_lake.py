"""The table flow on Spark: the same edges, verdicts and witnesses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two families of tables: parts, shuffles, spoiled rows, fewer columns."""
    folder = tmp_path_factory.mktemp("lake")
    rng = np.random.default_rng(2)
    for family in ("a", "b"):
        rows = 500
        whole = pa.table(
            {
                "id": rng.permutation(rows),
                "name": [f"{family}{i % 90}" for i in range(rows)],
                "value": pa.array(rng.integers(0, 50, rows) / 4.0),
            }
        )
        spoiled = whole.slice(0, 200).set_column(
            2, "value", pa.array(np.append(np.zeros(199), 77.5))
        )
        made = {
            "whole": whole,
            "half": whole.slice(0, 250).take(rng.permutation(250)),
            "narrow": whole.select(["name", "id"]),
            "spoiled": spoiled,
            "copy": whole.take(rng.permutation(rows)),
        }
        for name, table in made.items():
            pq.write_table(
                table, folder / f"{family}_{name}.parquet", row_group_size=120
            )
    return folder


def scan(lake: Path, out: Path, spark: Any = None, **more: Any) -> Path:
    recipe: dict[str, Any] = {
        "flow": "table_lake",
        "input": {"path": str(lake), "exclude": ["gold_edges.csv"]},
        "output": {"path": str(out), "report": False},
        **more,
    }
    winnow.run(recipe, spark=spark)
    return out


def told(run: Path, name: str) -> list[dict[str, Any]]:
    """Return a table's rows in order, without the run's own path."""
    keys = ("child", "parent") if name == "edges" else ("table",)
    rows = pq.read_table(run / f"{name}.parquet").to_pylist()
    for row in rows:
        if row.get("rebuild_sql"):
            row["rebuild_sql"] = row["rebuild_sql"].replace(str(run), "RUN")
    return sorted(rows, key=lambda row: [row[key] for key in keys])


def assert_same(local: Path, spark: Path) -> int:
    for name in ("edges", "tables"):
        assert told(local, name) == told(spark, name)
    sides = [
        {file.name: pq.read_table(file) for file in (run / "rebuild").glob("*")}
        for run in (local, spark)
    ]
    assert sides[0].keys() == sides[1].keys()
    assert all(table.equals(sides[1][name]) for name, table in sides[0].items())
    return len(pq.read_table(local / "edges.parquet"))


@pytest.mark.parametrize(
    "partitions",
    [
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(17, marks=pytest.mark.soak),
        # As the shared lake, below.
        pytest.param(None, marks=pytest.mark.soak),
    ],
)
def test_a_small_lake(lake: Path, spark: Any, tmp_path: Path, partitions: int | None):
    local = scan(lake, tmp_path / "local")
    engine = {"name": "spark", "partitions": partitions}
    on_spark = scan(lake, tmp_path / "spark", spark, engine=engine)
    assert assert_same(local, on_spark) >= 10


@pytest.mark.shared
@pytest.mark.slow
def test_the_shared_lake(shared: Path, spark: Any, tmp_path: Path):
    lake = shared / "data" / "lake"
    more = {"ignore_columns": ["rownames"]}
    local = scan(lake, tmp_path / "local", **more)
    assert assert_same(local, scan(lake, tmp_path / "spark", spark, **more)) > 105
