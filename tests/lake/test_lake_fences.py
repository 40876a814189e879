"""No table stops a scan: an exception at each step of one costs that one only."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake import counting, safety, stages, told
from winnow.lake import plan as lake_plan
from winnow.lake.compare import hashed_tables, read_texts, sketches
from winnow.lake.files import (
    reader,
    table_files,
)
from winnow.lake.files import (
    text_readers as text_tables,
)
from winnow.lake.kernels.min_max import Refutation
from winnow.lake.kernels.tables import Table
from winnow.lake.plan import plan_lake

SOUND = ("whole.parquet", "some.parquet", "text.csv")


class Boom(Exception):
    """An error that nobody has thought of."""


def written(folder: Path) -> Path:
    """A lake: whole ⊃ some, text; bad.csv and bad.parquet are slices of it, too."""
    folder.mkdir()
    rows = pa.table({"id": range(300), "v": [f"t{i % 7}" for i in range(300)]})
    for name, table in {
        "whole": rows,
        "some": rows.slice(0, 90),
        "bad": rows.slice(5, 80),
        "near": rows.slice(0, 299).append_column("z", pa.array(range(299))),
    }.items():
        pq.write_table(table, folder / f"{name}.parquet")
    near = {"id": [*range(298), 1000], "v": rows["v"][:299]}
    pq.write_table(pa.table(near), folder / "almost.parquet")
    for name in ("text", "bad"):
        lines = [f"{i},t{i % 7}" for i in range(40)]
        (folder / f"{name}.csv").write_text("\n".join(["id,v", *lines]) + "\n")
    return folder


def scan(folder: Path, *settings: str) -> Any:
    overrides = [f"input.path={json.dumps(str(folder))}", *settings]
    overrides.append("plan.maintenance_per_table=1")
    return api.scan(load_lake("table_lake", overrides, str(folder.parent / "run")))


def edges(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = pq.read_table(folder.parent / "run" / "edges.parquet").to_pylist()
    return {(row["child"], row["parent"]): row for row in rows}


def failing(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, is_bad: Callable[..., bool]
) -> list[int]:
    """Have a function raise for what is bad; count how often it did."""
    sound, raised = getattr(owner, name), [0]

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if is_bad(*arguments):
            raised[0] += 1
            raise Boom("nobody has thought of this")
        return sound(*arguments, **named)

    monkeypatch.setattr(owner, name, wrapped)
    return raised


def of_reader(self: Any, table: Table, *_: Any) -> bool:
    return table.name.startswith("bad")


STEPS: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "footer": (table_files, "read_footer", lambda _, path: "bad" in path),
    "text": (text_tables, "inferred", lambda _, path, *__: "bad" in path),
    "rows": (reader.TableReader, "_stored", of_reader),
    "hashes": (
        hashed_tables.HashedTables,
        "blocks",
        lambda self, task, _: self.reader.tables[task[0]].name.startswith("bad"),
    ),
    "sketch": (sketches, "_sketcher", lambda item, _: item.table == 1),
    "witness": (read_texts, "row_witnesses", lambda *_: True),
    "value": (read_texts, "value_witnesses", lambda *_: True),
    "query": (read_texts, "query_of", lambda *_: True),
    "long query": (read_texts, "query_by_side_file", lambda *_: True),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_exception_at_a_step_costs_one_table_only(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "lake")
    raised = failing(monkeypatch, *STEPS[step])
    result = scan(folder, "content.sample_rows=20")
    assert raised[0] > 0 or step in ("long query", "value")
    relations = edges(folder)
    for child in ("some.parquet", "text.csv"):
        assert relations[child, "whole.parquet"]["relation"] == "contained"
    assert not set(result.reasons) & set(SOUND)
    if step in ("footer", "text", "rows", "hashes"):
        assert "nobody has thought" in " ".join(result.reasons.values())


@pytest.mark.parametrize("step", ["sample_edges", "verify_edges"])
def test_an_exception_in_a_comparison_costs_its_pairs_only(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "lake")

    def concerns(_: Any, tables: Any, *rest: Any) -> bool:
        pairs = rest[-1] if step == "sample_edges" else rest[0]
        names = [table.name for table in tables.reader.tables]
        ends = np.concatenate(list(pairs))
        return any(names[int(i)] == "bad.parquet" for i in ends)

    raised = failing(monkeypatch, counting, step, concerns)
    scan(folder, "content.sample_rows=20", "partial.enabled=false")
    assert raised[0] > 0
    relations = edges(folder)
    bad = relations["bad.parquet", "whole.parquet"]
    assert bad["relation"] == "incomparable"
    assert "nobody has thought" in bad["reason"]
    assert relations["some.parquet", "whole.parquet"]["relation"] == "contained"


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (lake_plan, "describe"),
        (lake_plan, "difference"),
        (safety.Safety, "objection"),
    ],
)
def test_an_exception_in_a_plan_keeps_one_table_only(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "lake")
    scan(folder)

    def is_bad(first: Any, second: Any, *_: Any) -> bool:
        if name == "objection":
            return bool(second.name.startswith("bad"))
        return bool(first.reader.tables[second].name.startswith("bad"))

    raised = failing(monkeypatch, owner, name, is_bad)
    plan = plan_lake(str(folder.parent / "run"))["plan"]
    assert raised[0] > 0
    gone = {row["table"] for row in plan if row["action"] == "delete"}
    assert "some.parquet" in gone
    assert not {"bad.parquet", "bad.csv"} & gone


def test_rows_that_were_never_read_are_not_said_to_be_readable(tmp_path: Path) -> None:
    folder = written(tmp_path / "lake")
    pq.write_table(pa.table({"lonely": [1]}), folder / "lonely.parquet")
    (folder / "torn.parquet").write_bytes(b"PAR1 nothing PAR1")
    scan(folder)
    tables = pq.read_table(folder.parent / "run" / "tables.parquet").to_pylist()
    readable = {row["table"]: row["readable"] for row in tables}
    assert readable["lonely.parquet"] is None
    assert readable["torn.parquet"] is False
    assert readable["some.parquet"] is True
    assert readable["text.csv"] is True


def test_a_verdict_of_a_wrong_footer_does_not_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lake"
    folder.mkdir()
    values = pa.array([Decimal(i) / 100 for i in range(50)], pa.decimal128(9, 2))
    rows = pa.table({"d": values, "n": range(50)})
    for name, table in {
        "a": rows.slice(0, 20),
        "b": rows.slice(0, 40),
        "c": rows,
    }.items():
        pq.write_table(table, folder / f"{name}.parquet")
    footer = table_files.read_footer

    def lying(files: Any, path: str) -> Any:
        found = footer(files, path)
        if path.endswith("c.parquet"):
            # Bounds that hide most of its values from a, and b's too.
            wrong = found.statistics["d"].to_json()
            wrong |= {"low": ("Decimal", "0.30"), "low_certain": ("Decimal", "0.30")}
            kind = type(found.statistics["d"])
            found.statistics["d"] = kind.from_json(wrong)
        return found

    monkeypatch.setattr(table_files, "read_footer", lying)
    scan(folder)
    assert edges(folder)["b.parquet", "c.parquet"]["relation"] == "refuted"
    # The same lie about a ⊂ c only is seen, since a ⊂ b ⊂ c by their rows.
    monkeypatch.setattr(table_files, "read_footer", footer)
    refuting = stages.refuting_keys

    def refutes_a_in_c(found: Any, *rest: Any) -> Any:
        keys = refuting(found, *rest)
        keys[(found.child == 0) & (found.parent == 2)] = 0
        return keys

    monkeypatch.setattr(stages, "refuting_keys", refutes_a_in_c)
    monkeypatch.setattr(told, "refute", lambda *_: Refutation("a lie"))
    other = tmp_path / "again" / "lake"
    other.parent.mkdir()
    folder.rename(other)
    scan(other)
    edge = edges(other)["a.parquet", "c.parquet"]
    assert (edge["relation"], edge["refuted_by"], edge["witness"]) == (
        *("contained", None),
        None,
    )
