"""Whole scans of generated lakes against brute force: no edge lost, none invented.

Every writer, every trap of its statistics, projections, filters, shuffled rows, other
types of equal values, split files: the verdicts have to be those of comparing all rows.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
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
from winnow import api
from winnow.config.recipes import load_lake

LENGTHS = (1, 63, 64, 65, 255, 256, 257, 4096, 4097)
DAY = datetime(2024, 1, 1)

#: What a column's values are drawn from.
VALUES: dict[str, Any] = {
    "text": lambda n: "é" * (n % 3 == 0) + "x" * LENGTHS[n % 9] + "abcdef"[n % 6],
    "real": lambda n: [math.nan, 0.0, -0.0, 1.5, -math.inf, float(n)][n % 6],
    "half": lambda n: [math.nan, -0.0, n / 4, 0.5][n % 4],
    "count": lambda n: n - 20,
    "money": lambda n: Decimal(n - 9) / 8,
    "naive": lambda n: DAY + timedelta(hours=n),
    "zoned": lambda n: (DAY + timedelta(hours=n)).replace(tzinfo=UTC),
    "day": lambda n: date(1900 + n, 1, 1),
    "flag": lambda n: n % 2 == 0,
}
#: Types in which the same values are stored; the first is what a base has.
TYPES: dict[str, list[pa.DataType]] = {
    "id": [pa.int32(), pa.int64(), pa.float64(), pa.uint16()],
    "text": [pa.string(), pa.large_string()],
    "real": [pa.float64(), pa.float32()],
    "half": [pa.float32(), pa.float16(), pa.float64()],
    "count": [pa.int64(), pa.int32(), pa.float64(), pa.decimal128(30, 2)],
    "money": [pa.decimal128(18, 3), pa.decimal128(30, 6)],
    "naive": [pa.timestamp("us"), pa.timestamp("ms"), pa.timestamp("ns")],
    "zoned": [pa.timestamp("us", "UTC"), pa.timestamp("ms", "UTC")],
    "day": [pa.date32()],
    "flag": [pa.bool_()],
}
WRITERS = ("pyarrow", "polars", "duckdb", "int96", "bare")


def base(chance: random.Random, rows: int) -> pa.Table:
    """Return keyed rows."""
    names = chance.sample(list(VALUES), 4)
    columns: dict[str, pa.Array] = {"id": pa.array(range(rows), TYPES["id"][0])}
    for name in names:
        values = [
            None if chance.random() < 0.1 else VALUES[name](chance.randrange(54))
            for _ in range(rows)
        ]
        columns[name] = pa.array(values, TYPES[name][0])
    return pa.table(columns)


def derived(chance: random.Random, table: pa.Table) -> pa.Table:
    """Return a filter and projection of a table, shuffled, retyped, some spoiled."""
    rows = [i for i in range(len(table)) if chance.random() < chance.choice([0.2, 1])]
    chance.shuffle(rows)
    names = [n for n in table.column_names if chance.random() < 0.8] or ["id"]
    chance.shuffle(names)
    chosen = table.take(pa.array(rows, pa.int64())).select(names)
    if rows and chance.random() < 0.4:
        # One value comes from another row: it lies within every bound.
        name = chance.choice(names)
        values = chosen[name].to_pylist()
        values[chance.randrange(len(values))] = chance.choice(table[name].to_pylist())
        spoiled = pa.array(values, chosen[name].type)
        chosen = chosen.set_column(names.index(name), name, spoiled)
    columns = {n: chosen[n].combine_chunks() for n in names}
    return pa.table({n: stored(chance, n, column) for n, column in columns.items()})


def stored(chance: random.Random, name: str, column: pa.Array) -> pa.Array:
    kind = chance.choice(TYPES[name])
    if pa.types.is_float16(kind):
        return column.cast(pa.float32()).cast(kind)
    return column.cast(kind)


def write(chance: random.Random, table: pa.Table, place: Path) -> None:
    """Write a table as a file or as a folder of parts, each by any writer."""
    if chance.random() < 0.7:
        write_file(chance.choice(WRITERS), table, place.with_suffix(".parquet"))
        return
    place.mkdir()
    cut = chance.randrange(len(table) + 1)
    for number, part in enumerate((table.slice(0, cut), table.slice(cut))):
        write_file(chance.choice(WRITERS), part, place / f"part-{number}.parquet")


def write_file(writer: str, table: pa.Table, file: Path) -> None:
    if writer == "polars":
        pl.DataFrame(widened(table)).write_parquet(file, row_group_size=7)
    elif writer == "duckdb":
        with duckdb.connect() as connection:
            connection.register("made", widened(table))
            connection.execute(f"COPY made TO '{file}' (FORMAT parquet)")
    else:
        pq.write_table(
            table,
            file,
            row_group_size=7,
            # INT96 has no time zone: a zoned column would be another one.
            use_deprecated_int96_timestamps=writer == "int96"
            and "zoned" not in table.column_names,
            write_statistics=writer != "bare",
        )


def widened(table: pa.Table) -> pa.Table:
    """Return float16 as float32, which these writers do not have."""
    for place, field in enumerate(table.schema):
        if pa.types.is_float16(field.type):
            wide = table[field.name].cast(pa.float32())
            table = table.set_column(place, field.name, wide)
    return table


def plain(value: Any) -> Any:
    """Return what a value is equal to, whatever stores it."""
    if value is None or isinstance(value, bool | str):
        return (type(value).__name__, value)
    if isinstance(value, int | float | Decimal | np.floating):
        if math.isnan(value):
            return "nan"
        return value if math.isinf(value) else Fraction(value)
    return value


def rows_of(table: pa.Table, names: list[str]) -> Counter[tuple[Any, ...]]:
    columns = [[plain(v) for v in table[name].to_pylist()] for name in names]
    return Counter(zip(*columns, strict=True))


def brute_force(lake: dict[str, pa.Table], bag: bool) -> dict[tuple[str, str], Any]:
    """Return the share of every child's rows that its parent holds."""
    held_by: dict[tuple[str, str], Any] = {}
    for child, table in lake.items():
        for parent, other in lake.items():
            names = sorted(table.column_names)
            if child == parent or not set(names) <= set(other.column_names):
                continue
            ours, theirs = rows_of(table, names), rows_of(other, names)
            if bag:
                held, whole = (ours & theirs).total(), ours.total()
            else:
                held, whole = len(ours.keys() & theirs.keys()), len(ours)
            held_by[child, parent] = (held, whole)
    return held_by


SEEDS = [
    *range(3),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 23)),
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(23, 60)),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scan_finds_what_brute_force_finds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    bag = seed % 2 == 1
    bases = [base(chance, chance.choice([12, 40])) for _ in range(2)]
    tables = {f"base{i}": table for i, table in enumerate(bases)}
    for number in range(12):
        tables[f"t{number:02d}"] = derived(chance, chance.choice(bases))
    folder, run = tmp_path / "lake", tmp_path / "run"
    folder.mkdir()
    for name, table in tables.items():
        write(chance, table, folder / name)
    overrides = [
        f"input.path={json.dumps(str(folder))}",
        f"semantics={'bag' if bag else 'set'}",
        f"content.sample_rows={chance.choice([1, 5, 1000])}",
        "sketch.kmv=16",
        "partial.min_containment=0.5",
        "partial.read_all=true",
    ]
    scanned = api.scan(load_lake("table_lake", overrides, str(run)))
    assert scanned.reasons == {}
    edges = {
        (
            edge["child"].removesuffix(".parquet"),
            edge["parent"].removesuffix(".parquet"),
        ): edge
        for edge in pq.read_table(run / "edges.parquet").to_pylist()
    }
    truth = brute_force(tables, bag)
    assert edges.keys() == truth.keys()
    assert sum(held == whole for held, whole in truth.values()) > 3
    for pair, (held, whole) in truth.items():
        edge = edges[pair]
        assert (edge["relation"] in ("duplicate", "contained")) == (held == whole), edge
        back = truth.get(pair[::-1])
        mutual = back is not None and back[0] == back[1]
        assert (edge["relation"] == "duplicate") == (held == whole and mutual), edge
        if edge["containment"] is not None:
            assert edge["containment"] == pytest.approx(held / whole if whole else 1)
        if edge["relation"] == "partial":
            assert 0.5 <= held / whole < 1
        if edge["witness"] and edge["relation"] == "partial":
            assert set(json.loads(edge["witness"])) == set(edge["shared_columns"])
