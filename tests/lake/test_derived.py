"""Tables that lie in several others together, or in one under other names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan, restore
from winnow.lake.plan import plan_lake

#: Reading cheap, keeping dear: whatever may go goes.
CHEAP = ("plan.maintenance_per_table=1",)
BOTH = ("derived.unions=true", "derived.renamed=true")


def scan(folder: Path, *settings: str) -> list[dict[str, Any]]:
    """The tables that were derived from others, as the scan says."""
    overrides = [f"input.path={json.dumps(str(folder))}", *CHEAP, *settings]
    api.scan(load_lake("table_lake", overrides, str(folder.parent / "run")))
    return pq.read_table(folder.parent / "run" / "derived.parquet").to_pylist()


def rows(rng: np.random.Generator, start: int, count: int) -> pa.Table:
    return pa.table(
        {
            "id": np.arange(start, start + count),
            "amount": np.round(rng.gamma(2, 50, count), 2),
            "word": pa.array([f"w{i}" for i in rng.integers(0, 40, count)]),
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    """20 unions, 20 renamed copies and 20 near misses; what each was made of."""
    rng = np.random.default_rng(7)
    folder, truth = tmp_path_factory.mktemp("made") / "lake", {}
    folder.mkdir()
    for number in range(20):
        bases = [rows(rng, 10_000 * (3 * number + i), 400 + 90 * i) for i in range(3)]
        names = [f"base{number:02d}_{i}.parquet" for i in range(3)]
        some = 2 + number % 2
        parts = [
            base if number % 3 == 0 else base.slice(7 * i, 200 + 50 * i)
            for i, base in enumerate(bases[:some])
        ]
        union = pa.concat_tables(parts)
        if number % 4 == 1:
            union = union.take(pa.array(rng.permutation(len(union))))
        if number % 5 == 2:
            union = union.select(["amount", "id"])
        near = union.slice(1).append_column("n", pa.array(range(len(union) - 1)))
        near = near.drop_columns(["n"])
        lost = pa.array([*range(len(near) - 1)])
        other = {**near.take(lost).to_pydict()}
        other["amount"][3] = 1e7
        called = ["key", "price", "term"] if number % 2 else ["amount", "id", "word"]
        copy = (
            bases[2].rename_columns(called).select(called[:: 1 if number % 3 else -1])
        )
        swapped = copy.set_column(
            0, copy.column_names[0], copy[0].take(pa.array(range(len(copy)))[::-1])
        )
        written = {
            **dict(zip(names, bases, strict=True)),
            f"union{number:02d}.parquet": union,
            f"near{number:02d}.parquet": pa.table(other),
            f"copy{number:02d}.parquet": copy,
            f"swapped{number:02d}.parquet": swapped,
        }
        for name, table in written.items():
            pq.write_table(table, folder / name)
        truth[f"union{number:02d}.parquet"] = set(names[:some])
        truth[f"copy{number:02d}.parquet"] = {names[2]}
    return folder, truth


@pytest.mark.slow
def test_made_unions_and_renamed_copies_are_all_that_is_told(
    made: tuple[Path, dict[str, set[str]]],
) -> None:
    folder, truth = made
    derived = scan(folder, *BOTH)
    told = {(row["child"], row["kind"] == "renamed") for row in derived}
    assert {
        child for child, _ in told if child.startswith(("near", "swapped"))
    } == set()
    for child in truth:
        assert (child, child.startswith("copy")) in told
    for row in derived:
        if row["kind"] == "renamed" and row["child"].startswith("copy"):
            # The base, or the union that holds all of it.
            (parent,) = row["parents"]
            assert parent in (*truth[row["child"]], f"union{row['child'][4:]}")
    for row in derived:
        assert lacking(folder, row) == 0, row


def lacking(folder: Path, row: dict[str, Any]) -> int:
    """How many rows of a child DuckDB does not find in its parents."""
    columns = json.loads(row["columns"] or "null")
    names = pq.read_schema(folder / row["child"]).names
    columns = columns or {name: name for name in names}
    assert sorted(columns.values()) == sorted(names)
    mine, held = (
        ", ".join(f'"{name}"' for name in side)
        for side in (columns.values(), columns.keys())
    )
    parents = " UNION ALL ".join(
        f"SELECT {held} FROM '{folder / name}'" for name in row["parents"]
    )
    query = f"SELECT {mine} FROM '{folder / row['child']}' EXCEPT ({parents})"
    return len(duckdb.sql(query).fetchall())


def write(folder: Path, tables: dict[str, pa.Table]) -> None:
    folder.mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / name)


def carried_out(folder: Path) -> tuple[dict[str, list[str]], dict[str, bytes]]:
    """Plan, apply and restore; return what went, from which, and the lake after it."""
    run = str(folder.parent / "run")
    plan = plan_lake(run)
    gone = {r["table"]: r["parents"] for r in plan["plan"] if r["action"] == "delete"}
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    outcome = apply_plan(run)
    assert outcome["kept"] == []
    assert outcome["moved"] == sorted(gone)
    for row in plan["plan"]:
        if row["table"] in gone:
            rebuilt = duckdb.sql(row["rebuild_sql"]).to_arrow_table()
            stored = folder.parent / "run" / "trash" / row["table"]
            if stored.suffix == ".parquet":
                assert rebuilt.to_pylist() == pq.read_table(stored).to_pylist()
    restore(run)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    return gone, before


@pytest.fixture
def base() -> pa.Table:
    return rows(np.random.default_rng(3), 0, 900)


def test_a_union_of_slices_is_planned_and_had_back(
    tmp_path: Path, base: pa.Table
) -> None:
    wide = base.append_column("more", pa.array(range(900)))
    other = rows(np.random.default_rng(4), 5000, 500)
    union = pa.concat_tables([base.slice(100, 300), other.slice(50, 200)])
    folder = tmp_path / "lake"
    write(folder, {"wide.parquet": wide, "other.parquet": other, "u.parquet": union})
    assert scan(folder) == []
    (row,) = scan(folder, *BOTH)
    assert (row["child"], row["kind"]) == ("u.parquet", "union")
    assert row["parents"] == ["wide.parquet", "other.parquet"]
    gone, _ = carried_out(folder)
    assert gone == {"u.parquet": ["wide.parquet", "other.parquet"]}


def test_a_resharded_copy_goes_and_its_source_stays(
    tmp_path: Path, base: pa.Table
) -> None:
    folder = tmp_path / "lake"
    write(
        folder,
        {
            **{f"a{i}.parquet": base.slice(300 * i, 300) for i in range(3)},
            **{f"b{i}.parquet": base.slice(225 * i, 225) for i in range(4)},
        },
    )
    told = {row["child"]: row["parents"] for row in scan(folder, *BOTH)}
    # b0 and b3 lie in one table each.
    assert told["b1.parquet"] == ["a0.parquet", "a1.parquet"]
    assert told["a1.parquet"] == ["b1.parquet", "b2.parquet"]
    gone, before = carried_out(folder)
    left = [pq.read_table(folder / name) for name in before.keys() - gone.keys()]
    assert set(pa.concat_tables(left)["id"].to_pylist()) == set(range(900))
    assert len(gone) >= 3


def test_a_renamed_slice_goes_and_comes_back(tmp_path: Path, base: pa.Table) -> None:
    folder = tmp_path / "lake"
    part = base.slice(40, 500).select(["word", "id", "amount"])
    write(
        folder,
        {
            "base.parquet": base,
            "part.parquet": part.rename_columns(["id", "number", "price"]),
        },
    )
    assert scan(folder) == []
    (row,) = scan(folder, *BOTH)
    assert row["kind"] == "renamed"
    assert json.loads(row["columns"]) == {
        "amount": "price",
        "id": "number",
        "word": "id",
    }
    gone, _ = carried_out(folder)
    assert gone == {"part.parquet": ["base.parquet"]}


def test_what_changed_since_is_no_source(tmp_path: Path, base: pa.Table) -> None:
    folder = tmp_path / "lake"
    halves = {"x.parquet": base.slice(0, 450), "y.parquet": base.slice(450)}
    write(folder, {**halves, "u.parquet": base})
    (row,) = scan(folder, "derived.unions=true", 'plan.protected=["x*","y*"]')
    assert row["kind"] == "concatenation"
    pq.write_table(base.slice(500), folder / "y.parquet")
    plan = plan_lake(str(tmp_path / "run"))
    assert plan["deleted"] == 0
    assert scan(folder, "derived.unions=true") == []


@pytest.mark.parametrize("semantics", ["set", "bag"])
def test_rows_count_as_often_as_semantics_say(
    tmp_path: Path, base: pa.Table, semantics: str
) -> None:
    folder = tmp_path / "lake"
    twice = pa.concat_tables([base, base.slice(0, 10)])
    halves = {"x.parquet": base.slice(0, 500), "y.parquet": base.slice(500)}
    write(folder, {**halves, "u.parquet": twice})
    told = scan(folder, "derived.unions=true", f"semantics={semantics}")
    assert [row["child"] for row in told] == (
        ["u.parquet"] if semantics == "set" else []
    )


@pytest.mark.slow
def test_text_files_are_united_and_renamed_too(tmp_path: Path, base: pa.Table) -> None:
    folder = tmp_path / "lake"
    folder.mkdir()
    frame = base.to_pandas()
    frame[:500].to_csv(folder / "x.csv", index=False)
    frame[400:].to_csv(folder / "y.csv", index=False)
    frame[300:700].to_csv(folder / "u.csv", index=False)
    called = frame[:300].rename(columns={"id": "n", "word": "w"})
    called.to_csv(folder / "called.csv", index=False)
    told = {(r["child"], *r["parents"]) for r in scan(folder, *BOTH)}
    assert told == {("u.csv", "x.csv", "y.csv"), ("called.csv", "x.csv")}
    gone, _ = carried_out(folder)
    assert gone == {"u.csv": ["x.csv", "y.csv"], "called.csv": ["x.csv"]}


def test_an_unchanged_lake_is_not_compared_again(
    tmp_path: Path, base: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lake"
    halves = {"x.parquet": base.slice(0, 450), "y.parquet": base.slice(450)}
    renamed = base.slice(0, 100).rename_columns(["i", "a", "w"])
    write(folder, {**halves, "u.parquet": base, "r.parquet": renamed})
    first = scan(folder, *BOTH)

    def never(*_: object) -> Iterator[Any]:
        raise AssertionError("rows were read")

    monkeypatch.setattr("winnow.lake.files.reader.TableReader.batches", never)
    assert scan(folder, *BOTH) == first != []
