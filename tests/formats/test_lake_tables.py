"""Delta and Iceberg tables: the rows of their newest version, kept in kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from winnow.core.errors import InputError
from winnow.core.saved_files import read_manifest
from winnow.formats.shard_discovery import find_pool

from tests.delta import needs, rewrite, with_mapped_names, without_rows
from tests.iceberg import Warehouse, delete_file

deltalake = pytest.importorskip("deltalake")


def table(rows: range, **more: Any) -> pa.Table:
    return pa.table(
        {
            "uid": [f"u{i:02d}" for i in rows],
            "text": [f"caption {i // 2}" for i in rows],
            "day": [f"2026-01-0{1 + i % 2}" for i in rows],
            **more,
        }
    )


def run(pool: Path | str, out: Path, **more: Any) -> Any:
    recipe = {
        "input": {"path": str(pool), **more},
        "output": {"path": str(out), "report": False},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption"]},
    }
    return api.run(recipe)


@pytest.mark.parametrize("partitions", [None, ["day"]], ids=["plain", "partitioned"])
def test_a_delta_table_with_removed_files_is_kept_as_one(
    tmp_path: Path, partitions: list[str] | None
):
    pool = tmp_path / "t"
    deltalake.write_deltalake(pool, table(range(10)), partition_by=partitions)
    deltalake.write_deltalake(pool, table(range(10, 20)), mode="append")
    deltalake.DeltaTable(pool).delete("uid = 'u00' OR uid >= 'u16'")
    files = list(pool.rglob("*.parquet"))
    given = deltalake.DeltaTable(pool)
    assert len(files) > len(given.file_uris())
    result = run(pool, tmp_path / "run")
    assert (result.rows, result.kept) == (15, 8)
    kept = pa.table(deltalake.DeltaTable(tmp_path / "run" / "kept").to_pyarrow_table())
    expected = given.to_pyarrow_table().to_pylist()
    by_uid = {row["uid"]: row for row in expected}
    rows = kept.sort_by("uid").to_pylist()
    assert [row["uid"] for row in rows] == [f"u{i:02d}" for i in (1, *range(2, 16, 2))]
    assert rows == [by_uid[row["uid"]] for row in rows]
    # The version is pinned, and SQL sees the columns of partitions.
    pinned = read_manifest(tmp_path / "run" / "manifest.json")["input"]["pinned"]
    assert pinned["version"] == given.version() == 2
    days = "SELECT uid, day FROM samples ORDER BY uid"
    assert result.run.query(days).to_pylist() == [
        {"uid": uid, "day": by_uid[uid]["day"]} for uid in sorted(by_uid)
    ]
    assert run(tmp_path / "run" / "kept", tmp_path / "again").kept == 8


def test_a_column_that_older_files_lack_is_null_there(tmp_path: Path):
    pool = tmp_path / "t"
    deltalake.write_deltalake(pool, table(range(4)))
    more = table(range(4, 8), stars=[1, 2, 3, 4])
    deltalake.write_deltalake(pool, more, mode="append", schema_mode="merge")
    result = run(pool, tmp_path / "run")
    rows = result.run.kept(["stars"]).arrow().sort_by("uid").to_pylist()
    assert [row["stars"] for row in rows] == [None, None, 1, 3]
    sql = result.run.query("SELECT sum(stars) AS s, count(*) AS n FROM samples")
    assert sql.to_pylist() == [{"s": 10, "n": 8}]


def test_what_a_log_says_that_is_not_supported_is_named(tmp_path: Path):
    pool = tmp_path / "t"
    deltalake.write_deltalake(pool, table(range(4)))
    (log,) = (pool / "_delta_log").glob("*.json")
    text = log.read_text()
    mapped = '"configuration":{"delta.columnMapping.mode":"colour"'
    log.write_text(text.replace('"configuration":{', mapped, 1))
    with pytest.raises(InputError, match="column names are mapped"):
        find_pool(str(pool))
    log.write_text(text)
    rewrite(pool, lambda action: needs(action, "variantType"))
    with pytest.raises(InputError, match=r"it needs variantType, .* does not read"):
        find_pool(str(pool))
    log.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"Delta table .* cannot be read"):
        find_pool(str(pool))


def test_rows_that_deletion_vectors_delete_do_not_come_back(tmp_path: Path):
    pool = tmp_path / "t"
    deltalake.write_deltalake(pool, table(range(10)), partition_by=["day"])
    # Of each file, one a day, the rows 1 and 4.
    rewrite(pool, without_rows)
    left = sorted({f"u{i:02d}" for i in range(10)} - {"u02", "u03", "u08", "u09"})
    result = run(pool, tmp_path / "run")
    assert result.rows == 6
    seen = result.run.query("SELECT uid, day FROM samples ORDER BY uid").to_pylist()
    assert [row["uid"] for row in seen] == left
    assert {row["day"] for row in seen} == {"2026-01-01", "2026-01-02"}
    kept = deltalake.DeltaTable(tmp_path / "run" / "kept").to_pyarrow_table()
    assert sorted(kept["uid"].to_pylist()) == ["u00", "u04", "u06"]
    fs = fsspec.filesystem("memory")
    fs.put(str(pool), "/deleted-rows/t", recursive=True)
    try:
        assert run("memory://deleted-rows/t", tmp_path / "far").rows == 6
    finally:
        fs.rm("/deleted-rows", recursive=True)
    # The same files, with other rows of them: not the pool that was.
    rewrite(pool, lambda action: without_rows(action, (0, 1)))
    again = run(pool, tmp_path / "run")
    uids = again.run.query("SELECT uid FROM samples ORDER BY uid").to_pylist()
    assert [row["uid"] for row in uids] == [f"u{i:02d}" for i in range(4, 10)]


def test_mapped_columns_of_a_delta_table_have_the_tables_names(tmp_path: Path):
    pool, stored = tmp_path / "t", table(range(6)).rename_columns(["c1", "c2", "c3"])
    names = {"c1": "uid", "c2": "text", "c3": "day"}
    deltalake.write_deltalake(pool, stored, partition_by=["c3"])
    rewrite(pool, lambda action: with_mapped_names(action, names))
    result = run(pool, tmp_path / "run")
    expected = table(range(6)).sort_by("uid").to_pylist()
    query = "SELECT uid, text, day FROM samples ORDER BY uid"
    assert result.run.query(query).to_pylist() == expected
    kept = deltalake.DeltaTable(tmp_path / "run" / "kept").to_pyarrow_table()
    assert kept.sort_by("uid").to_pylist() == expected[::2]


def test_a_table_below_the_pool_and_hudi_are_refused(tmp_path: Path):
    deltalake.write_deltalake(tmp_path / "p" / "t", table(range(4)))
    with pytest.raises(InputError, match=r"deleted rows back: name the table's own"):
        find_pool(str(tmp_path / "p"))
    (tmp_path / "h" / ".hoodie").mkdir(parents=True)
    (tmp_path / "h" / ".hoodie" / "hoodie.properties").write_text("x")
    pq.write_table(table(range(4)), tmp_path / "h" / "0.parquet")
    with pytest.raises(InputError, match=r"a Hudi table .* out as Parquet first"):
        find_pool(str(tmp_path / "h"))


def iceberg(folder: Path, name: str) -> tuple[Any, Path]:
    catalog_module = pytest.importorskip("pyiceberg.catalog.sql")
    catalog = catalog_module.SqlCatalog(
        "c", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}/w"
    )
    catalog.create_namespace_if_not_exists("n")
    created = catalog.create_table(f"n.{name}", schema=table(range(1)).schema)
    return created, Path(created.location().removeprefix("file://"))


def test_an_iceberg_table_gives_the_rows_of_its_snapshot(tmp_path: Path):
    given, location = iceberg(tmp_path, "t")
    given.append(table(range(10)))
    given.append(table(range(10, 20)))
    given.delete("uid >= 'u16'")
    result = run(location, tmp_path / "run")
    assert (result.rows, result.kept) == (16, 8)
    kept = pq.read_table(tmp_path / "run" / "kept").sort_by("uid")
    rows = given.scan().to_arrow().to_pylist()
    expected = [row for row in rows if row["uid"][-1] in "02468"]
    assert kept.to_pylist() == sorted(expected, key=lambda row: row["uid"])
    pinned = read_manifest(tmp_path / "run" / "manifest.json")["input"]["pinned"]
    assert pinned["version"] == str(given.current_snapshot().snapshot_id)


def test_renamed_and_later_columns_of_an_iceberg_table_are_its_own(tmp_path: Path):
    types = pytest.importorskip("pyiceberg.types")
    given, location = iceberg(tmp_path, "t")
    given.append(table(range(4)))
    with given.update_schema() as update:
        update.rename_column("text", "caption")
    with given.update_schema() as update:
        update.add_column("text", types.StringType())
        update.add_column("stars", types.LongType())
    later = table(range(4, 8), stars=[1, 2, 3, 4]).rename_columns(
        ["uid", "caption", "day", "stars"]
    )
    given.append(later.append_column("text", pa.array(["caption 9"] * 4)))
    given.delete("uid = 'u05'")
    columns = {"columns": {"text": "caption"}}
    result = run(location, tmp_path / "run", **columns)
    expected = given.scan().to_arrow().sort_by("uid").to_pylist()
    query = "SELECT uid, caption, day, text, stars FROM samples ORDER BY uid"
    assert result.run.query(query).to_pylist() == expected
    assert result.run.kept().arrow().sort_by("uid").to_pylist() == [
        row for row in expected if row["uid"] in ("u00", "u02", "u04", "u06")
    ]


def test_delete_files_of_an_iceberg_table_are_heard(tmp_path: Path):
    pytest.importorskip("pyiceberg")
    warehouse = Warehouse(tmp_path / "w")
    given = warehouse.table("t", table(range(1)).schema)
    given.append(table(range(10)))
    delete_file(given, "POSITION_DELETES", [0, 9])
    expected = [f"u{i:02d}" for i in range(1, 9)]
    assert given.scan().to_arrow()["uid"].to_pylist() == expected
    result = run(tmp_path / "w" / "t", tmp_path / "run")
    uids = "SELECT uid FROM samples ORDER BY uid"
    assert [row["uid"] for row in result.run.query(uids).to_pylist()] == expected
    # What is written after a delete by value stays, though it has that value.
    delete_file(given, "EQUALITY_DELETES", ["u01", "u09", "u44"])
    given.append(table(range(1, 2)))
    result = run(tmp_path / "w" / "t", tmp_path / "more")
    kept = result.run.kept().arrow()["uid"].to_pylist()
    assert (result.rows, sorted(kept)) == (8, ["u01", "u02", "u04", "u06", "u08"])


def test_a_delta_table_behind_a_url_is_read_by_its_log(tmp_path: Path):
    pool = tmp_path / "t"
    deltalake.write_deltalake(pool, table(range(6)), partition_by=["day"])
    deltalake.DeltaTable(pool).delete("uid = 'u00'")
    fs = fsspec.filesystem("memory")
    fs.put(str(pool), "/lake-tables/t", recursive=True)
    try:
        result = run("memory://lake-tables/t", tmp_path / "run")
        days = [row["day"] for row in result.run.kept(["day"])]
        assert (result.rows, sorted(days)) == (5, ["2026-01-01"] * 2 + ["2026-01-02"])
    finally:
        fs.rm("/lake-tables", recursive=True)


def test_iceberg_tables_that_are_not_read_are_named(tmp_path: Path):
    pytest.importorskip("pyiceberg")
    warehouse = Warehouse(tmp_path / "w")
    given = warehouse.table("values", table(range(1)).schema)
    given.append(table(range(4)))
    delete_file(given, "EQUALITY_DELETES", ["u01"])
    with given.update_schema() as update:
        update.delete_column("uid")
    pq.write_table(table(range(4)), tmp_path / "outside.parquet")
    lent = warehouse.table("lent", table(range(1)).schema)
    lent.add_files([f"{tmp_path}/outside.parquet"])
    said = {"values": "it no longer has", "lent": "outside its"}
    for name, reason in said.items():
        with pytest.raises(InputError, match=rf"Iceberg table .*{reason}"):
            find_pool(str(tmp_path / "w" / name))


def test_a_copy_of_an_iceberg_table_is_its_own_files(tmp_path: Path):
    given, location = iceberg(tmp_path, "t")
    given.append(table(range(10)))
    given.delete("uid >= 'u06'")
    shutil.copytree(location, tmp_path / "copy")
    shutil.rmtree(location)
    assert run(tmp_path / "copy", tmp_path / "run").rows == 6
    fs = fsspec.filesystem("memory")
    fs.put(str(tmp_path / "copy"), "/iceberg-pool/t", recursive=True)
    try:
        assert run("memory://iceberg-pool/t", tmp_path / "far").rows == 6
    finally:
        fs.rm("/iceberg-pool", recursive=True)
