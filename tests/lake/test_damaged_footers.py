"""Tables whose footers would end the process: unreadable, with a reason, alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake

from tests import parquet_footers


def some_damaged(folder: Path) -> None:
    """Write a table, a part of it, and a table for each damage of a footer."""
    rows = pa.table({"id": [1, 2, 3], "text": ["a", "b", "c"]})
    pq.write_table(rows, folder / "whole.parquet")
    pq.write_table(rows.slice(1), folder / "slice.parquet")
    for number, kind in enumerate(parquet_footers.DAMAGES):
        damaged = folder / f"{number}.parquet"
        pq.write_table(rows, damaged, row_group_size=2)
        parquet_footers.damage(damaged, 1, 0, kind)


@pytest.mark.parametrize(
    "engine", ["local", pytest.param("spark", marks=pytest.mark.slow)]
)
def test_a_damaged_footer_makes_one_table_unreadable(
    tmp_path: Path, engine: str
) -> None:
    """Asked for such a column chunk, pyarrow ends the process."""
    folder = tmp_path / "lake"
    folder.mkdir()
    some_damaged(folder)
    settings = [f"input.path={json.dumps(str(folder))}", f"engine.name={engine}"]
    reasons = api.scan(load_lake("table_lake", settings, str(tmp_path / "r"))).reasons
    edges = pq.read_table(tmp_path / "r" / "edges.parquet").to_pylist()
    relations = {(edge["child"], edge["parent"]): edge["relation"] for edge in edges}
    numbers = range(len(parquet_footers.DAMAGES))
    assert sorted(reasons) == [f"{number}.parquet" for number in numbers]
    assert all("damaged" in why or "encrypted" in why for why in reasons.values())
    assert relations["slice.parquet", "whole.parquet"] == "contained"
