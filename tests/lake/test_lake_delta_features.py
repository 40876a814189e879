"""Delta tables whose files alone do not tell what rows and columns they have."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan
from winnow.lake.files import column_files
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.files.files import Files
from winnow.lake.plan import plan_lake

from tests.delta import Action, needs, rewrite, with_mapped_names, without_rows

TABLE = pa.table({"id": range(6), "kind": list("abcdef")})


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    lake = tmp_path / "lake"
    deltalake.write_deltalake(lake / "deleted", TABLE)
    rewrite(lake / "deleted", without_rows)
    deltalake.write_deltalake(lake / "mapped", TABLE.rename_columns(["c1", "c2"]))
    names = {"c1": "id", "c2": "kind"}
    rewrite(lake / "mapped", lambda action: with_mapped_names(action, names))
    deltalake.write_deltalake(lake / "other", TABLE)
    rewrite(lake / "other", lambda action: needs(action, "variantType"))
    deltalake.write_deltalake(lake / "new", TABLE)
    rewrite(lake / "new", lambda action: needs(action, "rowsElsewhere"))
    pq.write_table(TABLE, lake / "all.parquet")
    pq.write_table(TABLE.take([0, 2, 3, 5]), lake / "left.parquet")
    return lake


def test_tables_are_compared_by_what_their_log_says(lake: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in lake.rglob("*") if p.is_file()}
    overrides = [f"input.path={json.dumps(str(lake))}", "plan.maintenance_per_table=1"]
    run = str(tmp_path / "run")
    reasons = api.scan(load_lake("table_lake", overrides, run)).reasons
    assert reasons.keys() == {"other", "new"}
    assert "variantType" in reasons["other"]
    assert "rowsElsewhere" in reasons["new"]
    edges = pq.read_table(Path(run) / "edges.parquet").to_pylist()
    relation = {(e["child"], e["parent"]): e["relation"] for e in edges}
    assert relation["deleted", "left.parquet"] == "duplicate"
    assert relation["mapped", "all.parquet"] == "duplicate"
    assert relation["deleted", "mapped"] == "contained"
    assert relation["mapped", "deleted"] in ("refuted", "partial")
    assert not any("equal by value" in edge["reason"] for edge in edges)
    assert {name for pair in relation for name in pair} == {
        *("deleted", "mapped", "left.parquet", "all.parquet")
    }
    planned = plan_lake(run)["plan"]
    gone = {row["table"]: row["parent"] for row in planned if row["action"] == "delete"}
    assert gone == {"left.parquet": "all.parquet"}
    why = {row["table"]: row["reason"] for row in planned}
    assert "its log alone" in why["deleted"]
    assert "its log alone" in why["mapped"]
    assert apply_plan(run)["moved"] == ["left.parquet"]
    after = {p: p.read_bytes() for p in lake.rglob("*") if p.is_file()}
    assert after == {p: b for p, b in before.items() if p.name != "left.parquet"}


_NESTED = pa.table(
    {
        "n": range(5),
        "s": [
            *({"a": 1, "b": [{"c": "x"}, None]}, None, {"a": None, "b": None}),
            *({"a": 4, "b": []}, {"a": 5, "b": [{"c": None}]}),
        ],
        "m": pa.array(
            [[("k", {"v": 1})], None, [], [("q", None), ("r", {"v": 2})], []],
            pa.map_(pa.string(), pa.struct([("v", pa.int64())])),
        ),
    }
)


def stored(kind: pa.DataType, numbers: Iterator[int], *, named: bool) -> pa.DataType:
    """A type as files hold it: other names, or other names and numbers."""
    if pa.types.is_struct(kind):
        inside = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([stored_field(f, numbers, named=named) for f in inside])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, stored(kind.item_type, numbers, named=named))
    if pa.types.is_list(kind):
        return pa.list_(stored(kind.value_type, numbers, named=named))
    return kind


def stored_field(field: pa.Field, numbers: Iterator[int], *, named: bool) -> pa.Field:
    number = next(numbers)
    name = f"col-{number}" if named else f"other-{number}"
    kind = stored(field.type, numbers, named=named)
    return pa.field(name, kind, metadata={"PARQUET:field_id": str(number)})


def renamed(value: Any, kind: pa.DataType, other: pa.DataType) -> Any:
    """A value of one type, under the names of another."""
    if value is None or not pa.types.is_nested(kind):
        return value
    if pa.types.is_struct(kind):
        pairs = ((kind.field(i), other.field(i)) for i in range(kind.num_fields))
        return {b.name: renamed(value[a.name], a.type, b.type) for a, b in pairs}
    if pa.types.is_map(kind):
        return [(k, renamed(v, kind.item_type, other.item_type)) for k, v in value]
    return [renamed(v, kind.value_type, other.value_type) for v in value]


def numbered(told: Any, numbers: Iterator[int]) -> None:
    """Give each field of a table's schema its number and its name in files."""
    if not isinstance(told, dict):
        return
    for field in told.get("fields", ()):
        number = next(numbers)
        field["metadata"] = {
            "delta.columnMapping.id": number,
            "delta.columnMapping.physicalName": f"col-{number}",
        }
        numbered(field["type"], numbers)
    for inner in ("elementType", "keyType", "valueType"):
        numbered(told.get(inner), numbers)


@pytest.mark.parametrize("mode", ["name", "id"])
def test_nested_columns_are_found_by_mapped_names_and_by_numbers(
    tmp_path: Path, mode: str
) -> None:
    lake = tmp_path / "lake"
    deltalake.write_deltalake(lake / "d", _NESTED)

    def mapped(action: Action) -> None:
        needs(action, "columnMapping")
        if "metaData" in action:
            said = action["metaData"]
            said["configuration"]["delta.columnMapping.mode"] = mode
            schema = json.loads(said["schemaString"])
            numbered(schema, itertools.count(1))
            said["schemaString"] = json.dumps(schema)

    rewrite(lake / "d", mapped)
    (file,) = (lake / "d").glob("*.parquet")
    numbers = itertools.count(1)
    held = [stored_field(f, numbers, named=mode == "name") for f in _NESTED.schema]
    under = [
        pa.array([renamed(v, c.type, f.type) for v in c.to_pylist()], f.type)
        for c, f in zip(_NESTED.columns, held, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(under, schema=pa.schema(held)), file)
    (table,) = discover(LakeSource(str(lake)))
    assert table.reason is None
    part = table.parts[0]
    (rows,) = column_files.batches(
        Files(), part, [c.name for c in table.columns], presence=False
    )
    names = [c.name for c in table.columns]
    assert names == ["n", "s.a", "s.b", "m"]
    assert rows.column("n").to_pylist() == list(range(5))
    wanted = [None if s is None else s["b"] for s in _NESTED["s"].to_pylist()]
    assert rows.column("s.b").to_pylist() == wanted
    assert rows.column("m").to_pylist() == _NESTED["m"].to_pylist()
