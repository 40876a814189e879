"""A scanned lake, opened in Python: read, planned, carried out, brought back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.core.errors import ConfigError, QueryError, RunError


@pytest.fixture
def lake(tmp_path: Path) -> winnow.Lake:
    """Return a scan of two tables, of which one has markup for a name."""
    folder = tmp_path / "lake"
    folder.mkdir()
    whole = pa.table({"id": range(90), "name": [f"n{i % 7}" for i in range(90)]})
    pq.write_table(whole, folder / "whole.parquet")
    pq.write_table(whole.slice(8, 70), folder / "<b>slice.parquet")
    found = winnow.scan(folder, tmp_path / "run", set={"output": {"report": False}})
    assert isinstance(found, winnow.FinishedScan)
    assert (found.tables, found.relations["contained"]) == (2, 1)
    return found.lake


def test_edges_of_no_relation_keep_their_columns(lake: winnow.Lake):
    none = lake.edges(["duplicate"])
    assert len(none) == 0
    assert none.column_names == lake.edges().column_names
    with pytest.raises(ConfigError, match="no relation 'same'"):
        lake.edges(["same"])


def test_a_plan_is_read_queried_and_made_anew(lake: winnow.Lake):
    with pytest.raises(RunError, match="holds no plan"):
        lake.planned()
    with pytest.raises(QueryError, match="winnow lake plan"):
        lake.query("FROM plan")
    assert lake.plan(maintenance_per_table=1)["deleted"] == 1
    deleted = "SELECT count(*) AS n FROM plan WHERE action = 'delete'"
    assert lake.query(deleted).to_pylist() == [{"n": 1}]
    # What was opened for the question shows the new plan, not that of before.
    assert lake.plan({"plan.protected": ["*slice*"]})["deleted"] == 0
    assert lake.query(deleted).to_pylist() == [{"n": 0}]
    assert lake.planned().arrow()["action"].to_pylist().count("delete") == 0
    with pytest.raises(ConfigError, match="only settings of `plan`"):
        lake.plan({"semantics": "bag"})


def test_tables_go_and_come_back(lake: winnow.Lake):
    lake.plan(maintenance_per_table=1)
    table = Path(lake.config["input"]["path"]) / "<b>slice.parquet"
    (command,) = lake.dry_run()
    assert (command["table"], table.exists()) == ("<b>slice.parquet", True)
    moved = lake.apply()
    assert (moved["moved"], table.exists()) == (["<b>slice.parquet"], False)
    assert "1 table moved" in str(moved)
    assert lake.restore()["restored"] == ["<b>slice.parquet"]
    assert table.exists()


def test_names_of_tables_are_escaped_in_notebooks(lake: winnow.Lake):
    shown = [
        lake._repr_html_(),
        lake.tables()._repr_html_(),
        lake.explain("<b>slice.parquet")._repr_html_(),
    ]
    assert not any("<b>" in markup for markup in shown)
    assert "&lt;b&gt;slice" in shown[1]


def test_a_name_that_needs_an_extra_is_only_missing_where_it_is_used():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import winnow\n"
        "assert 'KeptDataset' in dir(winnow) and not hasattr(winnow, 'KeptDataset')\n"
        "try: winnow.KeptDataset\n"
        "except AttributeError as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "winnow.KeptDataset" in told.stdout
    assert "datawinnow[images]" in told.stdout
