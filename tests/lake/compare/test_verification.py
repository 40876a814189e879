"""Containment of tables on disk against brute force, whatever types and files."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from winnow.lake.compare.content import verify_edges
from winnow.lake.compare.sample import sample_edges
from winnow.lake.compare.verdicts import Verdicts
from winnow.lake.files.reader import TableReader
from winnow.lake.kernels.table_sketch import Sizes

from tests.examples import examples

SIZES = Sizes(column=16, row=16, num_perm=0)
WRITERS = ("pyarrow", "polars", "duckdb")

Lake = Any
Row = tuple[Any, ...]

NUMBERS = st.sampled_from([None, 0, 1, -3, 2**53 + 1, 0.5, -0.0, math.nan, 2.0**60])
TEXTS = st.sampled_from([None, "", "a", "ab", "b", "été"])
ROWS = st.lists(st.tuples(NUMBERS, TEXTS), max_size=25)
FILES = st.tuples(
    st.sampled_from(WRITERS), st.integers(1, 3), st.integers(1, 7), st.booleans()
)


def number_column(values: list[Any], wide: bool) -> pa.Array:
    """Return integers (as decimals if `wide`) or, where need be, doubles."""
    given = [v for v in values if v is not None]
    if all(math.isfinite(v) and v == int(v) for v in given):
        numbers = [None if v is None else int(v) for v in values]
        if wide:
            decimals = [None if v is None else Decimal(v) for v in numbers]
            return pa.array(decimals, pa.decimal128(30, 2))
        return pa.array(numbers, pa.int64())
    return pa.array([None if v is None else float(v) for v in values], pa.float64())


def as_table(rows: list[Row], wide: bool) -> pa.Table:
    numbers, texts = zip(*rows, strict=True) if rows else ((), ())
    columns = {
        "number": number_column(list(numbers), wide),
        "text": pa.array(texts, pa.large_string() if wide else pa.string()),
    }
    return pa.table({n: columns[n] for n in (sorted(columns) if wide else columns)})


def key(row: Row, as_stored: pa.Table) -> Row:
    """What a row is equal to: exact numbers, doubles where they are stored so."""

    def number(value: Any) -> Any:
        if value is None:
            return None
        if pa.types.is_floating(as_stored["number"].type):
            value = float(value)
        return "nan" if math.isnan(value) else Fraction(value)

    return (number(row[0]), row[1])


def check(verdicts: Verdicts, child: list[Row], parent: list[Row], at: int = 0) -> None:
    missing = set(child) - set(parent)
    scarcer = Counter(child) - Counter(parent)
    assert verdicts.exact[at]
    assert verdicts.rows[at] == len(child)
    assert verdicts.distinct[at] == len(set(child))
    assert verdicts.missing[at] == len(missing)
    assert verdicts.matched[at] == (Counter(child) & Counter(parent)).total()
    assert verdicts.witness(False)[at] == min(map(child.index, missing), default=-1)
    assert verdicts.witness(True)[at] == min(map(child.index, scarcer), default=-1)
    assert verdicts.contained(False)[at] == (not missing)
    assert verdicts.contained(True)[at] == (not scarcer)
    whole = len(set(child))
    share = 1.0 if not whole else 1 - len(missing) / whole
    assert verdicts.containment(False)[at] == pytest.approx(share)


@settings(
    deadline=None,
    max_examples=examples(20, 50),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ROWS, ROWS, FILES, FILES, st.booleans(), st.integers(1, 9))
def test_verdicts_equal_brute_force(
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
    child: list[Row],
    parent: list[Row],
    child_files: Any,
    parent_files: Any,
    subset: bool,
    group_rows: int,
) -> None:
    if subset:
        parent = parent + child[::-1]
    stored, tables = {}, {}
    for name, rows, (writer, parts, group, wide) in (
        ("a", child, child_files),
        ("b", parent, parent_files),
    ):
        stored[name] = table = as_table(rows, wide)
        size = -(-len(rows) // parts) or 1
        pieces = [table.slice(at, size) for at in range(0, max(len(rows), 1), size)]
        tables[name] = (pieces if parts > 1 else table, writer, group)
    keys = {
        n: [key(r, stored[n]) for r in rows]
        for n, rows in (("a", child), ("b", parent))
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (pieces, writer, group) in tables.items():
            write_lake(Path(folder), {name: pieces}, writer, group)
        lake = open_lake(Path(folder))
        one, other = (n for n in lake.names)
        edges = lake.edge(one, other)
        sketches = lake.sketches(SIZES)
        for bag in (False, True):
            refuted = sketches.refute(lake.tables, edges, bag)
            lacking = (
                Counter(keys["a"]) - Counter(keys["b"])
                if bag
                else set(keys["a"]) - set(keys["b"])
            )
            # Sketches are one-sided: what they refute is not contained.
            if refuted.missing[0]:
                witness = keys["a"][refuted.witness[0]]
                column = refuted.column[0]
                assert lacking
                if column is None:
                    assert witness in lacking
        sampled = sample_edges(lake.engine, lake.tables, sketches, edges)
        if len(set(keys["a"])) <= SIZES.row:
            check(sampled, keys["a"], keys["b"])
        elif sampled.missing[0]:
            assert keys["a"][sampled.first_missing[0]] not in keys["b"]
        verified = verify_edges(lake.engine, lake.tables, edges, group_rows)
        check(verified, keys["a"], keys["b"])


LENGTHS = (0, 63, 64, 65, 255, 256, 257, 4096, 4097)


def hard_table() -> pa.Table:
    """Rows that writers' statistics, widths and units have trouble with."""
    rows = 4 * len(LENGTHS)
    numbers = list(range(rows))
    return pa.table(
        {
            "id": pa.array(numbers, pa.int32()),
            "text": [
                "é" * (n % 2) + "x" * LENGTHS[n // 4] + "abcd"[n % 4] for n in numbers
            ],
            "real": [
                [math.nan, 0.0, -0.0, None, 1.5, -math.inf][n % 6] for n in numbers
            ],
            "half": pa.array(np.arange(rows) / 4, pa.float32()),
            "money": pa.array([Decimal(n) / 8 for n in numbers], pa.decimal128(18, 3)),
            "naive": pa.array(
                [datetime(2024, 1, 1 + n % 28, n % 24) for n in numbers],
                pa.timestamp("us"),
            ),
            "zoned": pa.array(
                [datetime(2024, 1, 1 + n % 28, tzinfo=UTC) for n in numbers],
                pa.timestamp("us", "UTC"),
            ),
            "day": [None if n % 5 == 0 else date(1900 + n, 1, 1) for n in numbers],
            "flag": [None if n % 7 == 0 else n % 2 == 0 for n in numbers],
        }
    )


OTHER_TYPES = {
    "id": pa.float64(),
    "text": pa.large_string(),
    "real": pa.float32(),
    "half": pa.float64(),
    "money": pa.decimal128(30, 6),
    "naive": pa.timestamp("ms"),
    "zoned": pa.timestamp("ms", "UTC"),
    "day": pa.date32(),
    "flag": pa.bool_(),
}


@pytest.mark.parametrize("child_writer", WRITERS)
@pytest.mark.parametrize("parent_writer", WRITERS)
def test_no_writer_loses_a_true_edge_or_keeps_a_false_one(
    tmp_path: Path,
    open_lake: Callable[..., Lake],
    write_lake: Callable[..., Path],
    child_writer: str,
    parent_writer: str,
) -> None:
    whole, rng = hard_table(), np.random.default_rng(0)
    order = rng.permutation(len(whole))[:20]
    child = whole.take(order)
    names = list(whole.column_names)
    retyped = pa.table({n: child[n].cast(OTHER_TYPES[n]) for n in reversed(names)})
    wrong = retyped.set_column(
        retyped.column_names.index("day"),
        "day",
        pa.array([date(2500, 1, 1), *retyped["day"].to_pylist()[1:]]),
    )
    children = {
        "same": child,
        "retyped": [retyped.slice(0, 7), retyped.slice(7)],
        "narrow": retyped.select(["text", "real", "zoned"]),
        "wrong": wrong,
    }
    write_lake(tmp_path / "lake", children, child_writer, rows=5)
    write_lake(tmp_path / "lake", {"whole": whole}, parent_writer, rows=9)
    lake = open_lake(tmp_path / "lake")
    sketches = lake.sketches(SIZES)
    numbers = {name.partition(".")[0]: n for n, name in enumerate(lake.names)}
    true = {(numbers[c], numbers["whole"]) for c in ("same", "retyped", "narrow")}
    refuted = sketches.refute(lake.tables, lake.edges)
    verified = verify_edges(lake.engine, lake.tables, lake.edges)
    pairs = list(
        zip(lake.edges.child.tolist(), lake.edges.parent.tolist(), strict=True)
    )
    assert true <= set(pairs)
    for i, pair in enumerate(pairs):
        if pair in true:
            assert refuted.missing[i] == 0
            assert verified.contained(False)[i]
    verdicts = pairs.index((numbers["wrong"], numbers["whole"]))
    assert verified.missing[verdicts] == 1
    assert verified.first_missing[verdicts] == 0


def test_int96_float16_and_dictionaries_are_compared_by_value(
    tmp_path: Path, open_lake: Callable[..., Lake]
) -> None:
    stamps = pa.array([0, 10**15, None], pa.timestamp("us"))
    halves = pa.array(np.array([0.5, np.nan, -0.0], np.float16))
    texts = pa.array(["a", None, "a"])
    old = {"when": stamps, "half": halves, "text": texts}
    new = {
        "when": stamps.cast(pa.timestamp("ns")),
        "half": halves.cast(pa.float64()),
        "text": texts.dictionary_encode(),
    }
    (tmp_path / "lake").mkdir()
    pq.write_table(
        pa.table(old),
        tmp_path / "lake/old.parquet",
        use_deprecated_int96_timestamps=True,
    )
    pq.write_table(pa.table(new), tmp_path / "lake/new.parquet")
    lake = open_lake(tmp_path / "lake")
    assert verify_edges(lake.engine, lake.tables, lake.edges).contained(True).all()
    assert len(lake.edges.child) == 2


def test_text_that_is_no_utf8_is_compared_by_its_bytes(
    tmp_path: Path, open_lake: Callable[..., Lake]
) -> None:
    (tmp_path / "lake").mkdir()
    raw = pa.array([b"caf\xe9", b"caf\xc3\xa9", b"x"])
    text = pa.StringArray.from_buffers(len(raw), *raw.buffers()[1:])
    pq.write_table(pa.table({"t": text}), tmp_path / "lake/whole.parquet")
    pq.write_table(pa.table({"t": text.slice(0, 1)}), tmp_path / "lake/part.parquet")
    pq.write_table(pa.table({"t": ["café", "y"]}), tmp_path / "lake/valid.parquet")
    lake = open_lake(tmp_path / "lake")
    verdicts = verify_edges(lake.engine, lake.tables, lake.edges)
    contained = {
        (lake.names[c], lake.names[p])
        for c, p, held in zip(*lake.edges, verdicts.contained(False), strict=True)
        if held
    }
    assert contained == {("part.parquet", "whole.parquet")}
    some = lake.edge("valid.parquet", "whole.parquet")
    assert verify_edges(lake.engine, lake.tables, some).missing.tolist() == [1]


def test_formats_do_not_matter(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    table = pa.table(
        {
            "id": [1, 2, 3],
            "price": [0.5, 1.25, -3.0],
            "shop": ["a", "b, c", "é"],
            "day": [date(2024, 1, n) for n in (1, 2, 3)],
            "open": [True, False, True],
        }
    )
    folder = write_lake(tmp_path / "lake", {"parquet": table})
    pl.DataFrame(table).write_csv(folder / "csv.csv")
    # JSON has no dates: they would be text, which no date equals.
    pl.DataFrame(table.drop_columns("day")).write_ndjson(folder / "json.jsonl")
    lake = open_lake(folder)
    verdicts = verify_edges(lake.engine, lake.tables, lake.edges)
    pairs = zip(*lake.edges, verdicts.contained(True), strict=True)
    held = {(lake.names[c], lake.names[p]): bool(h) for c, p, h in pairs}
    assert held == {
        ("csv.csv", "parquet.parquet"): True,
        ("parquet.parquet", "csv.csv"): True,
        ("json.jsonl", "csv.csv"): True,
        ("json.jsonl", "parquet.parquet"): True,
    }


def test_an_empty_table_is_contained_and_contains_nothing(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    full = pa.table({"a": [1, 2], "b": ["x", None]})
    write_lake(tmp_path / "lake", {"empty": full.slice(0, 0), "full": full})
    lake = open_lake(tmp_path / "lake")
    _check_empty(lake)
    # A Delta table without active files has no parts at all.
    empty, *rest = lake.tables.reader.tables
    reader = TableReader([replace(empty, parts=()), *rest])
    _check_empty(replace(lake, tables=replace(lake.tables, reader=reader)))


def _check_empty(lake: Lake) -> None:
    inside = lake.edge("empty.parquet", "full.parquet")
    outside = lake.edge("full.parquet", "empty.parquet")
    sketches = lake.sketches(SIZES)
    assert sketches.refute(lake.tables, inside).missing.tolist() == [0]
    assert sketches.refute(lake.tables, outside).witness.tolist() == [0]
    for verdicts in (
        sample_edges(lake.engine, lake.tables, sketches, inside),
        verify_edges(lake.engine, lake.tables, inside),
    ):
        assert verdicts.containment(False).tolist() == [1.0]
        assert verdicts.contained(True).tolist() == [True]
    for verdicts in (
        sample_edges(lake.engine, lake.tables, sketches, outside),
        verify_edges(lake.engine, lake.tables, outside),
    ):
        assert verdicts.containment(False).tolist() == [0.0]
        assert verdicts.first_missing.tolist() == [0]


def test_no_edges_are_no_verdicts(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    write_lake(
        tmp_path / "lake", {"a": pa.table({"a": [1]}), "b": pa.table({"b": [1]})}
    )
    lake = open_lake(tmp_path / "lake")
    sketches = lake.sketches(SIZES)
    assert not sketches.refute(lake.tables, lake.edges).missing.size
    sampled = sample_edges(lake.engine, lake.tables, sketches, lake.edges)
    verified = verify_edges(lake.engine, lake.tables, lake.edges)
    assert not sampled.contained(False).size
    assert not verified.contained(True).size


def test_against_duckdb_on_a_larger_lake(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(3)

    def table(rows: int, span: int) -> pa.Table:
        return pa.table(
            {
                "n": pa.array(rng.integers(0, span, rows), mask=rng.random(rows) < 0.1),
                "t": pa.array([f"t{i}" for i in rng.integers(0, 3, rows)]),
                "x": rng.integers(0, 4, rows) / 2,
            }
        )

    parent = table(20_000, 120)
    tables = {"a": table(6_000, 125), "b": parent, "c": parent.slice(5, 700)}
    write_lake(tmp_path / "lake", tables, rows=2_000)
    lake = open_lake(tmp_path / "lake")
    verdicts = verify_edges(lake.engine, lake.tables, lake.edges, group_rows=5_000)
    for i, (child, parent_) in enumerate(zip(*lake.edges, strict=True)):
        one, other = tables[lake.names[child][0]], tables[lake.names[parent_][0]]
        count = "SELECT count(*) FROM (FROM one {} FROM other)"
        missing = duckdb.sql(count.format("EXCEPT")).fetchall()[0][0]
        matched = duckdb.sql(count.format("INTERSECT ALL")).fetchall()[0][0]
        assert (verdicts.missing[i], verdicts.matched[i]) == (missing, matched)
        assert (len(one), len(other)) == (verdicts.rows[i], len(other))


def test_one_differing_row_in_a_million_is_shown(
    tmp_path: Path, open_lake: Callable[..., Lake], write_lake: Callable[..., Path]
) -> None:
    rows, odd, rng = 1_000_000, 654_321, np.random.default_rng(0)
    whole = pa.table(
        {
            "id": np.arange(rows),
            "price": pa.array(rng.integers(0, 10_000, rows) / 100),
            "shop": pa.array([f"shop {n}" for n in range(100)]).take(
                rng.integers(0, 100, rows)
            ),
        }
    )
    child = whole.take(rng.permutation(rows))
    price = child["price"].to_numpy().copy()
    price[odd] = (price[odd] + 0.01) % 100
    child = child.set_column(1, "price", pa.array(price)).select(
        ["shop", "price", "id"]
    )
    tables = {"whole": whole, "child": [child.slice(0, 400_000), child.slice(400_000)]}
    write_lake(tmp_path / "lake", tables, rows=131_072)
    lake = open_lake(tmp_path / "lake")
    edges = lake.edge("child", "whole.parquet")
    sketches = lake.sketches(Sizes(256, 1000, 0))
    # No value is odd, and hardly ever is it in a sample: only the row as a whole is.
    assert sketches.refute(lake.tables, edges).missing.tolist() == [0]
    verdicts = verify_edges(lake.engine, lake.tables, edges, group_rows=300_000)
    assert verdicts.missing.tolist() == [1]
    assert verdicts.first_missing.tolist() == [odd]
    assert verdicts.distinct.tolist() == [rows]
    witness = lake.tables.reader.rows(int(edges.child[0]), [odd], ["id", "price"])
    assert (
        witness.to_pylist() == child.slice(odd, 1).select(["id", "price"]).to_pylist()
    )
