"""Files of many formats beside the same rows in Parquet; what holds several tables."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan
from winnow.lake.files.catalogue import LakeSource, discover, survey
from winnow.lake.files.reader import TableReader
from winnow.lake.files.saved_tables import SavedTables, as_table
from winnow.lake.plan import plan_lake


@pytest.fixture
def rows() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([*range(29), None], pa.int64()),
            "word": [None if i == 3 else f"wörd {i % 7}" for i in range(30)],
            "share": pa.array([i / 4 for i in range(30)]),
        }
    )


def sqlite(table: pa.Table, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE main (id, word TEXT, share REAL)")
        connection.executemany(
            "INSERT INTO main VALUES (?, ?, ?)",
            zip(*table.to_pydict().values(), strict=True),
        )
    connection.close()


def database(table: pa.Table, path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.register("given", table)
        connection.execute("CREATE TABLE main AS SELECT * FROM given")


def array(table: pa.Table, path: Path) -> None:
    path.write_text(json.dumps(table.to_pylist()))


def objects(table: pa.Table, path: Path) -> None:
    path.write_text("\n".join(json.dumps(row, indent=1) for row in table.to_pylist()))


WRITERS: dict[str, tuple[str, Callable[[pa.Table, Path], None]]] = {
    "t.avro": ("", lambda table, path: pl.DataFrame(table).write_avro(path)),
    "t.sqlite": ("/main", sqlite),
    "t.duckdb": ("/main.main", database),
    "t.db": ("/main.main", database),
    "array.json": ("", array),
    "objects.json": ("", objects),
}


def scan(folder: Path, *settings: str) -> tuple[dict[tuple[str, str], str], Any]:
    overrides = [f"input.path={json.dumps(str(folder))}", *settings]
    overrides += ["plan.maintenance_per_table=1", "output.report=false"]
    run = folder.parent / "run"
    result = api.scan(load_lake("table_lake", overrides, str(run)))
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    return {(e["child"], e["parent"]): e["relation"] for e in edges}, result


def test_the_same_rows_are_found_in_every_format(tmp_path: Path, rows: pa.Table):
    folder = tmp_path / "lake"
    folder.mkdir()
    for name, (_, write) in WRITERS.items():
        write(rows, folder / name)
    pq.write_table(rows, folder / "same.parquet")
    pq.write_table(rows.slice(1), folder / "less.parquet")
    relations, result = scan(folder)
    assert result.reasons == {}
    for name, (inner, _) in WRITERS.items():
        assert relations[name + inner, "same.parquet"] == "duplicate", name
        assert relations["less.parquet", name + inner] == "contained", name
    plan_lake(str(tmp_path / "run"))
    moved = apply_plan(str(tmp_path / "run"))["moved"]
    # A table in a file of several is compared, and never moved by itself.
    assert {"less.parquet", "t.avro"} <= set(moved)
    assert not [name for name in moved if "/" in name]
    plan = pq.read_table(tmp_path / "run" / "plan.parquet").to_pylist()
    reasons = {row["table"]: row["reason"] for row in plan}
    assert "moves as a whole or not at all" in reasons["t.sqlite/main"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_costs_no_other_table(
    tmp_path: Path, rows: pa.Table, name: str
) -> None:
    WRITERS[name][1](rows, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / f"cut_{name}").write_bytes(content[: len(content) // 3])
    (tmp_path / f"empty_{name}").write_bytes(b"")
    pq.write_table(rows, tmp_path / "same.parquet")
    tables = discover(LakeSource(str(tmp_path)))
    sound = {table.name for table in tables if table.reason is None}
    assert sound >= {"same.parquet", name + WRITERS[name][0]}
    read = TableReader(tables)
    for number, table in enumerate(tables):
        if table.name.startswith(("cut_", "empty_")) and table.reason is None:
            with pytest.raises(Exception, match=r"cannot be read|changed"):
                list(read.batches(number, 0, None, [c.name for c in table.columns]))


def test_values_of_sqlite_keep_their_kinds(tmp_path: Path):
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE odd (n, mixed, raw, text, nil)")
        connection.executemany(
            "INSERT INTO odd VALUES (?, ?, ?, CAST(? AS TEXT), NULL)",
            [(1, "1", b"\xff", b"\xff"), (2**62, 1, b"", "b")],
        )
        connection.execute('CREATE TABLE "with ""quotes""" (a)')
    connection.close()
    tables = discover(LakeSource(str(tmp_path)))
    assert [t.name for t in tables] == ["a.db/odd", 'a.db/with "quotes"']
    assert [t.rows for t in tables] == [2, 0]
    types = {c.name: str(c.type) for c in tables[0].columns}
    assert types == {
        "n": "int64",
        "mixed": "string",
        "raw": "binary",
        "text": "string",
        "nil": "null",
    }
    ((_, batch),) = TableReader(tables).batches(0, 0, None, ["n", "mixed", "text"])
    assert batch.column("n").to_pylist() == [1, 2**62]
    assert batch.column("mixed").to_pylist() == ["'1'", "1"]
    assert batch.column("text").to_pylist() == [b"\xff", b"b"]


def test_a_file_in_use_is_not_read_in_part(tmp_path: Path):
    connection = sqlite3.connect(tmp_path / "a.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    (table,) = discover(LakeSource(str(tmp_path)))
    connection.close()
    assert "it is in use" in str(table.reason)


def test_only_what_changed_is_opened_again(tmp_path: Path, rows: pa.Table):
    sqlite(rows, tmp_path / "t.sqlite")
    lake = LakeSource(str(tmp_path))
    first = survey(lake)
    known = SavedTables([as_table(first)])
    assert survey(lake, known) == first
    assert survey(lake, known)[0] is known["t.sqlite/main"]


def workbook(path: Path, **sheets: list[list[Any]]) -> None:
    """Write the least that is a workbook."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"

    def cell(value: Any) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    names = "".join(
        f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>'
        for i, name in enumerate(sheets, 1)
    )
    links = "".join(
        f'<Relationship Id="r{i}" Type="{office}/worksheet" Target="s{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="r" Type='
            f'"{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets>'
            "</workbook>",
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}">{links}</Relationships>',
        )
        for i, rows in enumerate(sheets.values(), 1):
            text = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            file.writestr(
                f"xl/s{i}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{text}</sheetData></worksheet>',
            )


def test_sheets_of_a_workbook_are_tables(tmp_path: Path):
    pytest.importorskip("python_calamine")
    workbook(
        tmp_path / "b.xlsx",
        data=[["n", "x", "n"], [1, 0.5, True], [2, None, "b"]],
        empty=[],
    )
    (tmp_path / "cut.xlsx").write_bytes((tmp_path / "b.xlsx").read_bytes()[:900])
    tables = {table.name: table for table in discover(LakeSource(str(tmp_path)))}
    assert tables["cut.xlsx"].reason
    assert {c.name: str(c.type) for c in tables["b.xlsx/data"].columns} == {
        "n": "int64",
        "x": "double",
        "n.1": "string",
    }
    assert tables["b.xlsx/data"].rows == 2
    assert tables["b.xlsx/empty"].columns == ()


def test_texts_of_other_endings_are_tables_where_a_glob_names_them(tmp_path: Path):
    folder = tmp_path / "lake"
    folder.mkdir()
    (folder / "a.txt").write_bytes("id\tname\n1\tJosé\nNA\tx\n".encode("latin-1"))
    (folder / "README.md").write_text("id\tname\n")
    pq.write_table(
        pa.table({"id": pa.array([1, None]), "name": ["José", "x"]}),
        folder / "same.parquet",
    )
    relations, result = scan(
        folder, "csv={'*.txt': {encoding: latin-1, null_values: NA}, '**': {}}"
    )
    assert result.ignored == {".md": 1}
    assert relations.get(("a.txt", "same.parquet")) == "duplicate"


def test_one_object_is_no_table(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "words.json").write_text('"a"')
    reasons = [table.reason for table in discover(LakeSource(str(tmp_path)))]
    assert reasons == [
        "it holds one JSON object, and no rows",
        "it holds neither an array of JSON objects nor objects",
    ]
