"""ORC and Arrow files as tables, beside the same rows in Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan
from winnow.lake.plan import plan_lake


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([*range(49), None], pa.int64()),
            "word": [f"w{i % 7}" for i in range(50)],
            "pair": [{"a": i, "b": "x"} if i % 3 else None for i in range(50)],
        }
    )


def scan(folder: Path) -> tuple[dict[tuple[str, str], str], Any]:
    overrides = [f"input.path={json.dumps(str(folder))}"]
    overrides += ["plan.maintenance_per_table=1"]
    run = folder.parent / "run"
    result = api.scan(load_lake("table_lake", overrides, str(run)))
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    return {(e["child"], e["parent"]): e["relation"] for e in edges}, result


def stream(table: pa.Table, path: Path) -> None:
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=20)


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "t.orc": pyarrow.orc.write_table,
    "t.feather": lambda table, path: pyarrow.feather.write_feather(table, str(path)),
    "t.arrows": stream,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_a_table_and_goes_for_a_parquet_copy(
    tmp_path: Path, table: pa.Table, name: str
) -> None:
    folder = tmp_path / "lake"
    folder.mkdir()
    WRITERS[name](table, folder / name)
    pq.write_table(table, folder / "same.parquet")
    pq.write_table(table.slice(1), folder / "less.parquet")
    for other in ("notes.docx", "more.docx", "README"):
        (folder / other).write_text("x")
    relations, result = scan(folder)
    assert result.reasons == {}
    assert result.ignored == {".docx": 2, "README": 1}
    assert relations[name, "same.parquet"] == "duplicate"
    assert relations["less.parquet", name] == "contained"
    assert relations[name, "less.parquet"] in ("refuted", "partial")
    plan = plan_lake(str(tmp_path / "run"))
    gone = {r["table"]: r["parent"] for r in plan["plan"] if r["action"] == "delete"}
    # No query reads an ORC or Arrow file: nothing is had back from one.
    assert gone == {"less.parquet": "same.parquet", name: "same.parquet"}
    assert apply_plan(str(tmp_path / "run"))["moved"] == sorted(gone)


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_costs_no_other_table(
    tmp_path: Path, table: pa.Table, name: str
) -> None:
    folder = tmp_path / "lake"
    folder.mkdir()
    WRITERS[name](table, folder / name)
    content = (folder / name).read_bytes()
    (folder / f"cut_{name}").write_bytes(content[: len(content) // 3])
    pq.write_table(table, folder / "same.parquet")
    relations, result = scan(folder)
    assert list(result.reasons) == [f"cut_{name}"]
    assert relations[name, "same.parquet"] == "duplicate"
