"""Rebuild queries: run by a plain DuckDB, they give back the very rows of the child."""

from __future__ import annotations

import csv
import json
import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from winnow.lake.compare.rebuild import Rebuild, describe, query_by_side_file
from winnow.lake.compare.replayed import difference

from tests.examples import examples

Lake = Any


def rebuilt(lake: Lake, child: str, parent: str, folder: Path) -> Rebuild:
    """The query for an edge, after the project's own check of it."""
    numbers = lake.names.index(child), lake.names.index(parent)
    rebuild = describe(lake.tables, *numbers, folder / "rebuild" / "side.parquet")
    assert difference(lake.tables, *numbers, rebuild) is None
    return rebuild


def plain(rebuild: Rebuild) -> pa.Table:
    """The rows that a user's own DuckDB gives."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.sql(rebuild.sql).to_arrow_table()


def rows(table: pa.Table) -> list[str]:
    """Rows as text; nanoseconds as numbers, for which Python has no type."""
    for number, field in enumerate(table.schema):
        if getattr(field.type, "unit", None) == "ns":
            table = table.set_column(number, field.name, table[number].cast(pa.int64()))
    return [repr(row) for row in table.to_pylist()]


def condition(rebuild: Rebuild) -> str:
    return rebuild.sql.partition(" WHERE ")[2].partition(" ORDER BY ")[0]


YEARS = datetime(1700, 1, 1), datetime(2200, 1, 1)
COLUMNS = {
    "number": (pa.int16(), st.none() | st.integers(-2, 2)),
    "share": (pa.float32(), st.sampled_from([None, 0.0, 0.1, -7.5, math.nan])),
    "text": (pa.string(), st.sampled_from([None, "", "a'b", "é", "x\ny"])),
    "day": (pa.date32(), st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31))),
    "at": (
        pa.timestamp("ns", "UTC"),
        st.none() | st.datetimes(*YEARS, timezones=st.just(UTC)),
    ),
    "price": (pa.decimal128(9, 2), st.sampled_from([None, Decimal("-1.10")])),
    "row": (pa.int64(), st.none()),
}


@st.composite
def tables(draw: Any) -> tuple[pa.Table, pa.Table]:
    """(parent, child): some columns of some rows, in order or not, with repeats."""
    n = draw(st.integers(0, 30))
    parent = pa.table(
        {
            name: pa.array(draw(st.lists(values, min_size=n, max_size=n)), kind)
            for name, (kind, values) in COLUMNS.items()
        }
    ).set_column(6, "row", pa.array(range(n), pa.int64()))
    chosen = draw(st.sampled_from(["all", "value", "run", "some", "shuffled"]))
    places = np.arange(n)
    if chosen == "value" and n:
        number = parent["number"].to_pylist()
        places = np.array([i for i in range(n) if number[i] == number[0]])
    elif chosen == "run":
        places = places[draw(st.integers(0, n)) : draw(st.integers(0, n))]
    elif chosen in ("some", "shuffled"):
        some = draw(st.lists(st.integers(0, n - 1))) if n else []
        places = np.array(sorted(set(some)) if chosen == "some" else some, int)
    names = draw(st.lists(st.sampled_from([*COLUMNS]), min_size=1, unique=True))
    child = parent.take(pa.array(places, pa.int64())).select(names)
    extra = draw(st.sampled_from([None, "counted", "own"]))
    if extra:
        values = [i + 1 if extra == "counted" else 7 * i % 5 for i in range(len(child))]
        child = child.append_column("extra", pa.array(values, pa.int32()))
    return parent, child


FILES = st.tuples(
    st.sampled_from(["pyarrow", "polars", "duckdb"]),
    st.integers(1, 3),
    st.integers(1, 9),
)


@settings(
    deadline=None,
    max_examples=examples(12, 40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tables(), FILES, FILES)
def test_any_selection_comes_back_row_by_row(
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
    pair: tuple[pa.Table, pa.Table],
    child_files: Any,
    parent_files: Any,
) -> None:
    parent, child = pair
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, table, (writer, parts, group) in (
            ("a", child, child_files),
            ("b", parent, parent_files),
        ):
            size = -(-len(table) // parts) or 1
            starts = range(0, max(len(table), 1), size)
            pieces = [table.slice(start, size) for start in starts]
            stored = pieces if parts > 1 else table
            write_lake(folder / "lake", {side: stored}, writer, group)
        lake = open_lake(folder / "lake", ignored=["extra"])
        names = ["a" if child_files[1] > 1 else "a.parquet"]
        names.append("b" if parent_files[1] > 1 else "b.parquet")
        if set(names) - set(lake.names):
            return  # a folder of one part is a file
        rebuild = rebuilt(lake, names[0], names[1], folder)
        assert rows(plain(rebuild)) == rows(child)


def instant(unit: str, zone: str | None = None) -> pa.Array:
    values = pa.array([0, 1, None, -62135596800, 253402300799], pa.int64())
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 1}[unit]
    ticks = pa.array([None if v is None else v * scale for v in values.to_pylist()])
    return ticks.cast(pa.timestamp(unit, zone))


TYPES = {
    "int8": pa.array([-128, 127, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "float16": pa.array(np.array([1.5, -0.0, np.nan], np.float16)),
    "float32": pa.array([0.1, math.inf, None], pa.float32()),
    "double": pa.array([0.1, -0.0, math.nan, None, 5e-324]),
    "boolean": pa.array([True, False, None]),
    "decimal": pa.array([Decimal("1.10"), None], pa.decimal128(38, 10)),
    "binary": pa.array([b"\x00\xff", b"", None]),
    "fixed": pa.array([b"ab", None], pa.binary(2)),
    "large": pa.array(["a" * 5000, "'", None], pa.large_string()),
    "dictionary": pa.array(["x", None, "y"]).dictionary_encode(),
    "date": pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
    "date64": pa.array([date(2020, 1, 1), None], pa.date64()),
    "time_ms": pa.array([time(23, 59, 59, 999000), None], pa.time32("ms")),
    "time_ns": pa.array([1, None], pa.int64()).cast(pa.time64("ns")),
    "naive_ms": instant("ms"),
    "naive_us": instant("us"),
    "naive_ns": instant("ns"),
    "zoned_us": instant("us", "UTC"),
    "zoned_ns": instant("ns", "Europe/Paris"),
    "duration": pa.array([timedelta(seconds=1), None], pa.duration("us")),
    "list": pa.array([[1, None], [], None], pa.list_(pa.int32())),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
    "struct": pa.array(
        [{"a": 1, "in": {"b": "x"}}, None, {"a": None, "in": {"b": "y"}}],
        pa.struct([("a", pa.int8()), ("in", pa.struct([("b", pa.string())]))]),
    ),
    "null": pa.nulls(3),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "shuffled", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_every_type_comes_back(
    kind: str,
    shuffled: bool,
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
) -> None:
    # Several of each value, so that no columns sort the parent into the child's order.
    values = pa.concat_arrays([TYPES[kind]] * 5)
    parent = pa.table({"other": range(len(values)), "value.s": values})
    order = np.arange(len(values))
    if shuffled:
        np.random.default_rng(0).shuffle(order)
    child = parent.take(pa.array(order)).select(["value.s"])
    write_lake(tmp_path / "lake", {"a": child, "b": parent})
    rebuild = rebuilt(open_lake(tmp_path / "lake"), "a.parquet", "b.parquet", tmp_path)
    assert (rebuild.side_file is not None) == (shuffled and kind != "null")
    back = plain(rebuild)
    assert back.column_names == ["value.s"]
    if kind not in {"float16", "duration"}:  # DuckDB has neither
        assert rows(back.cast(child.schema)) == rows(child)


def test_other_widths_come_back_in_the_childs_own(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    wide = pa.table(
        {
            "ID": pa.array([1, 2, 3], pa.int64()),
            "price": pa.array([Decimal("1.50"), Decimal("2.00"), Decimal("0.25")]),
            "at": pa.array([datetime(2020, 1, 1)] * 3, pa.timestamp("ns")),
        }
    )
    narrow = pa.table(
        {
            "at": wide["at"].cast(pa.timestamp("ms")),
            "id": wide["ID"].cast(pa.uint8()),
            "price": pa.array([1.5, 2.0, 0.25], pa.float32()),
        }
    ).slice(1)
    write_lake(tmp_path / "lake", {"a": narrow, "b": wide})
    lake = open_lake(tmp_path / "lake", folded=True)
    rebuild = rebuilt(lake, "a.parquet", "b.parquet", tmp_path)
    back = plain(rebuild)
    assert back.schema.types == [pa.timestamp("ms"), pa.uint8(), pa.float32()]
    assert back.to_pylist() == narrow.to_pylist()


@pytest.fixture
def parent() -> pa.Table:
    # Rows of years differ, so that what a year is stays to be found.
    n = 60
    return pa.table(
        {
            "id": pa.array(range(100, 100 + n)),
            "year": pa.array([None if i % 4 == 3 else 2000 + i % 4 for i in range(n)]),
            "value": pa.array([(7919 * i) % 97 / 4 for i in range(n)]),
            "text": [f"t{i}" for i in range(n)],
        }
    )


FORMS = {
    "all rows": (list(range(60)), ""),
    "one value": ([i for i in range(60) if i % 4 == 1], 'p."year" = 2001'),
    "null": ([i for i in range(60) if i % 4 == 3], 'p."year" IS NULL'),
    "a range": (list(range(20, 45)), 'p."id" BETWEEN 120 AND 144'),
    "some values": ([3, 9], 'p."id" IN (103, 109)'),
    "none": ([], "false"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_simplest_condition_is_taken(
    form: str,
    parent: pa.Table,
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
) -> None:
    places, expected = FORMS[form]
    child = parent.take(pa.array(places, pa.int64())).select(["text", "value"])
    write_lake(tmp_path / "lake", {"a": child, "b": parent})
    rebuild = rebuilt(open_lake(tmp_path / "lake"), "a.parquet", "b.parquet", tmp_path)
    assert condition(rebuild) == expected
    assert rebuild.side_file is None
    assert plain(rebuild).to_pylist() == child.to_pylist()


def test_a_run_of_rows_needs_no_column(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    values = pa.table({"v": [1, 2, 1, 2, 3, 1, 2, 3, 3]})
    write_lake(tmp_path / "lake", {"a": values.slice(3, 3), "b": values})
    rebuild = rebuilt(open_lake(tmp_path / "lake"), "a.parquet", "b.parquet", tmp_path)
    assert condition(rebuild) == "p.file_row_number BETWEEN 3 AND 5"


@pytest.mark.parametrize("kind", [pa.int32(), pa.string()])
def test_row_numbers_of_the_child_come_back(
    kind: pa.DataType,
    parent: pa.Table,
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
) -> None:
    def numbered(table: pa.Table, numbers: list[int]) -> pa.Table:
        return table.add_column(0, "rownames", pa.array(numbers).cast(kind))

    chosen = parent.filter(pa.compute.equal(parent["year"], 2002))
    n = len(chosen)
    order = pa.array(random.Random(1).sample(range(n), n))
    written = {
        "parent": numbered(parent, list(range(1, 61))),
        "counted": numbered(chosen, list(range(1, n + 1))),
        "same": numbered(chosen, [i + 1 for i in range(60) if i % 4 == 2]),
        "own": numbered(chosen, [i * i for i in range(n)]),
        "shuffled": numbered(chosen.take(order), list(range(0, n))),
    }
    write_lake(tmp_path / "lake", written)
    lake = open_lake(tmp_path / "lake", ignored=["rownames"])
    for name in ("counted", "same", "own", "shuffled"):
        rebuild = rebuilt(lake, f"{name}.parquet", "parent.parquet", tmp_path)
        assert (rebuild.side_file is None) == (name in {"counted", "same"}), name
        assert plain(rebuild).equals(written[name]), name
        if rebuild.side_file:
            # Only what the parent does not hold is stored.
            columns = pq.read_schema(rebuild.side_file).names
            ignored = ["rownames"] if name == "own" else []
            assert columns == ["winnow_position", *ignored]
            assert rebuild.side_bytes == Path(rebuild.side_file).stat().st_size


def write_hive(place: Path, table: pa.Table) -> None:
    pq.write_to_dataset(table, str(place), partition_cols=["year"])


def write_delta(place: Path, table: pa.Table) -> None:
    deltalake.write_deltalake(str(place), table, partition_by=["year"])


def write_csv(place: Path, table: pa.Table) -> None:
    pyarrow.csv.write_csv(table, place.with_suffix(".csv"))


def write_jsonl(place: Path, table: pa.Table) -> None:
    lines = [json.dumps({**r, "s": {"id": r["id"]}}) for r in table.to_pylist()]
    place.with_suffix(".jsonl").write_text("\n".join(lines))


WAYS = {"hive": write_hive, "delta": write_delta, "csv": write_csv, "js": write_jsonl}


@pytest.mark.parametrize("way", WAYS)
def test_parents_and_children_of_every_format(
    way: str,
    parent: pa.Table,
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
) -> None:
    lake_folder = tmp_path / "lake"
    whole = parent.filter(parent["year"].is_valid())
    lake_folder.mkdir()
    WAYS[way](lake_folder / "whole", whole)
    WAYS[way](lake_folder / "same", whole.take(pa.array(range(len(whole))[::-1])))
    some = whole.filter(pa.compute.equal(whole["year"], 2001)).select(["year", "text"])
    write_lake(lake_folder, {"some": some})
    lake = open_lake(lake_folder)
    names = {name.partition(".")[0]: name for name in lake.names}
    rebuild = rebuilt(lake, names["some"], names["whole"], tmp_path)
    assert condition(rebuild).endswith("= 2001")
    assert plain(rebuild).to_pylist() == some.to_pylist()
    shuffled = rebuilt(lake, names["same"], names["whole"], tmp_path)
    back = plain(shuffled).to_pylist()
    assert {row["id"]: row["text"] for row in back} == {
        row["id"]: row["text"] for row in whole.to_pylist()
    }
    if way == "js":
        assert all(row["s"] == {"id": row["id"]} for row in back)


@pytest.fixture
def edge(
    parent: pa.Table,
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
) -> tuple[Lake, Rebuild]:
    write_lake(tmp_path / "lake", {"a": parent.slice(10, 9), "b": parent})
    lake = open_lake(tmp_path / "lake")
    return lake, rebuilt(lake, "a.parquet", "b.parquet", tmp_path)


def test_a_query_that_gives_anything_else_is_found_out(edge, tmp_path: Path) -> None:
    lake, right = edge
    secret = tmp_path / "secret.parquet"
    pq.write_table(pa.table({"id": [1]}), secret)
    where = right.sql.partition(" WHERE ")[0] + " WHERE "
    unsorted = right.sql.partition(" ORDER BY ")[0]
    wrong = {
        where + 'p."id" BETWEEN 110 AND 117': "another row 8",
        where + 'p."id" BETWEEN 110 AND 119': "another row 9",
        f'{unsorted} ORDER BY p."id" DESC': "another row 0",
        right.sql.replace('p."value"', 'p."value" + 1 AS "value"'): "another row 0",
        right.sql.replace('p."value", ', ""): "gives the columns id, year, text",
        right.sql.replace('p."value"', 'p."text" AS "value"'): "fails",
        f"SELECT * FROM read_parquet('{secret}')": "operations are disabled",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'": "one SELECT",
        right.sql + "; SELECT 1": "one SELECT",
        "SELECT 1 FROM": "fails",
    }
    for sql, why in wrong.items():
        rebuild = difference(lake.tables, 0, 1, replace(right, sql=sql))
        assert rebuild is not None, sql
        assert why in rebuild, (sql, rebuild)
    assert not (tmp_path / "out.csv").exists()


def test_what_the_parent_lacks_is_no_rebuild(
    parent: pa.Table,
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
) -> None:
    write_lake(tmp_path / "lake", {"a": parent.slice(0, 9), "b": parent.slice(1)})
    lake = open_lake(tmp_path / "lake")
    with pytest.raises(ValueError, match="lacks a row"):
        describe(lake.tables, 0, 1, tmp_path / "side.parquet")


def test_a_parent_that_duckdb_cannot_read_fails_with_its_reason(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    latin = pa.array([b"caf\xe9", b"th\xe9"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, latin.buffers())
    table = pa.table({"text": text, "n": [1, 2]})
    write_lake(tmp_path / "lake", {"a": table.select(["text"]), "b": table})
    lake = open_lake(tmp_path / "lake")
    rebuild = describe(lake.tables, 0, 1, tmp_path / "side.parquet")
    why = difference(lake.tables, 0, 1, rebuild)
    assert why is not None
    assert "fails" in why


def test_the_query_of_an_unplanned_edge_works_with_a_side_file(
    edge, parent: pa.Table, tmp_path: Path
) -> None:
    lake, _ = edge
    side_file = str(tmp_path / "side.parquet")
    pq.write_table(pa.table({"winnow_position": range(10, 19)}), side_file)
    sql = query_by_side_file(lake.tables, 0, 1, side_file)
    assert difference(lake.tables, 0, 1, Rebuild(sql, side_file)) is None


@pytest.mark.shared
@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_every_known_containment_of_a_real_lake_is_rebuilt(
    shared: Path, tmp_path: Path, open_lake: Callable[..., Lake], step: int
) -> None:
    folder = shared / "data" / "lake"
    lake = open_lake(folder, ignored=["rownames"])
    with open(folder / "gold_edges.csv") as lines:
        edges = [(row["child"], row["parent"]) for row in csv.DictReader(lines)]
    assert len(edges) == 105
    for child, parent in edges[::step]:
        rebuild = rebuilt(lake, child, parent, tmp_path)
        assert rows(plain(rebuild)) == rows(pq.read_table(folder / child)), child


def test_listed_values_come_in_the_parents_order(
    open_lake: Callable[..., Lake], write_lake: Callable[..., Path], tmp_path: Path
) -> None:
    # Of several row groups: DuckDB looks listed values up by a join, in any order.
    parent = pa.table({"row": pa.array(range(18), pa.int64())})
    chosen = [1, 8, 9, 10, 15, 16]
    child = parent.take(chosen).append_column("n", pa.array(range(6), pa.int64()))
    write_lake(tmp_path / "lake", {"a": child, "b": parent}, "pyarrow", 8)
    lake = open_lake(tmp_path / "lake", ignored=["n"])
    rebuild = rebuilt(lake, "a.parquet", "b.parquet", tmp_path)
    assert " IN (" in rebuild.sql
    for _ in range(20):
        assert plain(rebuild).to_pylist() == child.to_pylist()


@pytest.fixture
def orders() -> pa.Table:
    rng = np.random.default_rng(5)
    return pa.table(
        {
            "id": rng.permutation(400),
            "day": pa.array(rng.integers(0, 9, 400), pa.int32()),
            "shop": pa.array([None if i % 7 == 0 else f"s{i % 5}" for i in range(400)]),
            "price": np.round(rng.gamma(2, 9, 400), 2),
        }
    )


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("FROM t ORDER BY id DESC", 1),
        ("FROM t ORDER BY shop NULLS FIRST, price", 2),
        ("FROM t ORDER BY day, shop DESC NULLS LAST, id", 3),
        ("SELECT shop, id FROM t WHERE day = 3 ORDER BY id", 1),
        ("FROM t WHERE day BETWEEN 2 AND 5 AND price > 20 ORDER BY price DESC", 1),
        ("FROM t WHERE shop = 's2' AND day = 4", 0),
    ],
)
def test_filters_projections_and_sorts_are_written_as_sql(
    tmp_path: Path,
    write_lake: Callable[..., Path],
    open_lake: Callable[..., Lake],
    orders: pa.Table,
    query: str,
    keys: int,
) -> None:
    with duckdb.connect() as connection:
        connection.register("t", orders)
        child = connection.sql(query).to_arrow_table()
    lake = open_lake(write_lake(tmp_path, {"parent": orders, "child": child}, rows=90))
    rebuild = rebuilt(lake, "child.parquet", "parent.parquet", tmp_path)
    assert rebuild.side_file is None
    assert plain(rebuild).to_pylist() == child.to_pylist()
    order = rebuild.sql.partition(" ORDER BY ")[2]
    # Each key says where nulls stand; what ties by chance may take one more.
    assert keys <= order.count("NULLS") <= 3 * keys


def test_a_random_order_is_no_sort(
    tmp_path: Path,
    write_lake: Callable[..., Path],
    open_lake: Callable[..., Lake],
    orders: pa.Table,
) -> None:
    child = orders.take(pa.array(np.random.default_rng(1).permutation(400)))
    lake = open_lake(write_lake(tmp_path, {"parent": orders, "child": child}))
    rebuild = rebuilt(lake, "child.parquet", "parent.parquet", tmp_path)
    assert rebuild.side_file is not None
    assert plain(rebuild).to_pylist() == child.to_pylist()
