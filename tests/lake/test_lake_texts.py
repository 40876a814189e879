"""Which queries a scan looks for: those of small pairs, each child's nearest first."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake


def queries(run: Path) -> dict[tuple[str, str], str]:
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    return {
        (e["child"].split(".")[0], e["parent"].split(".")[0]): e["rebuild_sql"]
        for e in edges
        if e["rebuild_sql"]
    }


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    folder.mkdir()
    whole = pa.table({"id": range(500), "year": [2000 + i // 100 for i in range(500)]})
    small = whole.slice(0, 300)
    for name, table in {
        "whole": whole,
        "small": small,
        "year": whole.slice(100, 100),
    }.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def scan(lake: Path, run: Path, most: float) -> dict[tuple[str, str], str]:
    settings = [f'input.path="{lake}"', f"rebuild.search_mb={most}"]
    settings += ["output.report=false"]
    api.scan(load_lake("table_lake", settings, str(run)))
    return queries(run)


def test_the_nearest_parent_of_each_child_comes_first(
    lake: Path, tmp_path: Path
) -> None:
    queries = scan(lake, tmp_path / "run", 1.0)
    assert queries.keys() == {("year", "whole"), ("year", "small"), ("small", "whole")}
    # Half a MB for each pair: two are looked for, one for each child.
    assert '."year" = 2001' in queries["year", "small"]
    assert "rebuild/year." in queries["year", "whole"]
    assert "rebuild/" not in queries["small", "whole"]
    assert "rebuild/" in scan(lake, tmp_path / "none", 0)["year", "small"]


def test_what_is_searched_depends_on_the_lake_alone(lake: Path, tmp_path: Path) -> None:
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    scan(lake, run, 1.0)
    (lake / "small.parquet").unlink()
    queries = scan(lake, run, 1.0)
    assert '."year" = 2001' in queries["year", "whole"]
    assert queries == scan(lake, fresh, 1.0)
