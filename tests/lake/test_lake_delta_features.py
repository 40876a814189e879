"""Delta tables whose files alone do not tell what rows and columns they have."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan
from winnow.lake.plan import plan_lake

TABLE = pa.table({"id": range(6), "kind": list("abcdef")})
#: Digits of Python's base 85, and of that which the log is in.
_RFC1924 = f"{digits}{ascii_uppercase}{ascii_lowercase}!#$%&()*+-;<=>?@^_`{{|}}~"
_Z85 = f"{digits}{ascii_lowercase}{ascii_uppercase}.-:+=^!/*?&<>()[]{{}}@%$#"
_Action = dict[str, Any]


def deletion_vector(rows: list[int]) -> _Action:
    """Rows, an even number of them, as the log holds them: a Roaring bitmap in Z85."""
    array = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16)
    array += struct.pack(f"<{len(rows)}H", *rows)
    whole = struct.pack("<iqi", 1681511377, 1, 0) + array
    text = base64.b85encode(whole).decode().translate(str.maketrans(_RFC1924, _Z85))
    return {
        "storageType": "i",
        "pathOrInlineDv": text,
        "sizeInBytes": len(whole),
        "cardinality": len(rows),
    }


def rewrite(table: Path, change: Callable[[_Action], None]) -> None:
    (commit,) = (table / "_delta_log").glob("*.json")
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    for action in actions:
        change(action)
    commit.write_text("\n".join(map(json.dumps, actions)) + "\n")


def needs(action: _Action, *features: str) -> None:
    if "protocol" in action:
        action["protocol"] = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": list(features),
            "writerFeatures": list(features),
        }


def without_rows(action: _Action) -> None:
    needs(action, "deletionVectors")
    if "add" in action:
        action["add"]["deletionVector"] = deletion_vector([1, 4])


def with_mapped_names(action: _Action) -> None:
    needs(action, "columnMapping")
    if "metaData" in action:
        said = action["metaData"]
        said["configuration"]["delta.columnMapping.mode"] = "name"
        schema = json.loads(said["schemaString"])
        for number, field in enumerate(schema["fields"], 1):
            field["metadata"] = {
                "delta.columnMapping.id": number,
                "delta.columnMapping.physicalName": field["name"],
            }
            field["name"] = {"c1": "id", "c2": "kind"}[field["name"]]
        said["schemaString"] = json.dumps(schema)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    lake = tmp_path / "lake"
    deltalake.write_deltalake(lake / "deleted", TABLE)
    rewrite(lake / "deleted", without_rows)
    deltalake.write_deltalake(lake / "mapped", TABLE.rename_columns(["c1", "c2"]))
    rewrite(lake / "mapped", with_mapped_names)
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
