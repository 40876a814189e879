"""Iceberg tables of a lake, written by pyiceberg: what their newest metadata says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan
from winnow.lake.plan import plan_lake

from tests.iceberg import Warehouse, delete_file

pytest.importorskip("pyiceberg")

TABLE = pa.table({"id": range(8), "kind": list("abcdefgh")})


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake")


def scanned(lake: Path, run: Path) -> tuple[dict[tuple[str, str], str], Any]:
    overrides = [f"input.path={json.dumps(str(lake))}", "plan.maintenance_per_table=1"]
    result = api.scan(load_lake("table_lake", overrides, str(run)))
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    return {(e["child"], e["parent"]): e["relation"] for e in edges}, result


def test_rows_and_columns_are_those_of_the_newest_metadata(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    lake = warehouse.folder
    given = warehouse.table("t", TABLE.schema)
    given.append(TABLE.slice(0, 4))
    given.append(TABLE.slice(4))
    given.delete("id = 3")
    shutil.copytree(lake / "t", lake / "copied")
    over = warehouse.table("over", TABLE.schema)
    over.append(TABLE)
    over.overwrite(TABLE.slice(0, 2))
    others = pa.table({"id": range(10, 14), "kind": list("wxyz")})
    renamed = warehouse.table("renamed", others.rename_columns(["id", "was"]).schema)
    renamed.append(others.rename_columns(["id", "was"]))
    with renamed.update_schema() as update:
        update.rename_column("was", "kind")
    warehouse.table("empty", TABLE.schema)
    pq.write_table(others, lake / "others.parquet")
    left = TABLE.take([0, 1, 2, 4, 5, 6, 7])
    pq.write_table(left, lake / "left.parquet")
    relation, result = scanned(lake, tmp_path / "run")
    assert result.reasons == {}
    assert relation["left.parquet", "t"] == relation["t", "copied"] == "duplicate"
    assert relation["renamed", "others.parquet"] == "duplicate"
    assert relation["over", "t"] == "contained"
    assert relation["t", "over"] == relation["renamed", "t"] == "refuted"
    planned = plan_lake(str(tmp_path / "run"))["plan"]
    gone = {row["table"]: row["parent"] for row in planned if row["action"] == "delete"}
    # A query reads the files of `t`, and not what metadata alone tells.
    assert gone.keys() == {"left.parquet"}
    assert gone["left.parquet"] in ("t", "copied")
    why = {row["table"]: row["reason"] for row in planned}
    assert all("catalogues" in why[name] for name in ("t", "copied", "over"))
    assert apply_plan(str(tmp_path / "run"))["moved"] == ["left.parquet"]


def test_delete_files_are_heard_and_what_is_not_read_is_named(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    lake = warehouse.folder
    for name, content in (("rows", "POSITION_DELETES"), ("values", "EQUALITY_DELETES")):
        given = warehouse.table(name, TABLE.schema)
        given.append(TABLE)
        delete_file(given, content, [1, 6])
    other = warehouse.table("other", TABLE.schema)
    other.append(TABLE)
    delete_file(other, "EQUALITY_DELETES", [1, 6])
    with other.update_schema() as update:
        update.delete_column("id")
    pq.write_table(TABLE.take([0, 2, 3, 4, 5, 7]), lake / "left.parquet")
    pq.write_table(TABLE, lake / "outside.parquet")
    warehouse.table("borrows", TABLE.schema).add_files([f"{lake}/outside.parquet"])
    torn = warehouse.table("torn", TABLE.schema)
    torn.append(TABLE)
    newest = max((lake / "torn" / "metadata").glob("*.metadata.json"))
    newest.write_text(newest.read_text()[:200])
    two = warehouse.table("two", TABLE.schema)
    two.append(TABLE)
    newest = max((lake / "two" / "metadata").glob("*.metadata.json"))
    shutil.copy(newest, newest.with_name(newest.name.replace("-", "-0", 1)))
    relation, result = scanned(lake, tmp_path / "run")
    assert relation["left.parquet", "rows"] == "duplicate"
    assert relation["values", "rows"] == "duplicate"
    assert result.reasons.keys() == {"other", "borrows", "torn", "two"}
    assert "no longer has" in result.reasons["other"]
    assert "outside its folder" in result.reasons["borrows"]
    assert "only its catalogue knows" in result.reasons["two"]
    planned = plan_lake(str(tmp_path / "run"))["plan"]
    why = {row["table"]: (row["action"], row["reason"]) for row in planned}
    assert why["outside.parquet"][0] == "keep"
