"""Footer statistics: true of the rows, whoever wrote the file.

One lake column of each trap, written by pyarrow, polars and DuckDB; their bounds are
compared with the values themselves, and every child is a subset of its parent.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.files.catalogue import LakeSource, survey
from winnow.lake.files.files import Files
from winnow.lake.files.footers import Footer, read_footer
from winnow.lake.files.reader import TableReader
from winnow.lake.kernels.families import comparable
from winnow.lake.kernels.min_max import refute_edge, refuting_keys
from winnow.lake.kernels.schema_graph import candidate_edges, matching_names
from winnow.lake.kernels.tables import ColumnStatistics, Family

from tests.examples import examples

DAY = 86_400 * 10**9
HALF = pa.float16()


def by_pyarrow(table: pa.Table, path: Path, rows: int) -> None:
    pq.write_table(table, path, row_group_size=rows)


def by_polars(table: pa.Table, path: Path, rows: int) -> None:
    pl.from_arrow(table).write_parquet(path, row_group_size=rows)


def by_duckdb(table: pa.Table, path: Path, rows: int) -> None:
    # It knows no float16.
    wide = [pa.float32() if f.type == HALF else f.type for f in table.schema]
    with duckdb.connect() as connection:
        source = table.cast(pa.schema(list(zip(table.column_names, wide, strict=True))))
        connection.register("source", source)
        connection.execute(
            f"COPY source TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {rows})"
        )


WRITERS: dict[str, Callable[[pa.Table, Path, int], None]] = {
    "pyarrow": by_pyarrow,
    "polars": by_polars,
    "duckdb": by_duckdb,
}


def footer_of(path: Path) -> Footer:
    return read_footer(Files(), str(path))


LENGTHS = [1, 60, 61, 63, 64, 65, 255, 256, 257, 4096, 4097]
#: Cut maxima are raised at the last character that can be, however far ahead it is.
ENDS = ["", "\x7f", "z", "é", "€", "😀", "\U0010ffff"]
TEXTS = [
    *("", "a\x00"),
    *[
        (head * length)[:length] + end
        for head in "am"
        for length in LENGTHS
        for end in ENDS[:2]
    ],
    *["a" + end * count for end in ENDS for count in (70, 300)],
    *["b" * 60 + end * 4 for end in ENDS],
]
ZONED = pa.timestamp("ms", "UTC")
TRAPS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), TEXTS),
    "bytes": (pa.binary(), [b"", b"a" + b"\xff" * 300, b"\xff" * 300, b"m" * 64]),
    "double": (pa.float64(), [float("nan"), -0.0, 0.0, 1.5, -np.inf, 1e300]),
    "single": (pa.float32(), [float("nan"), -0.0, 0.0, 0.1, np.inf]),
    "half": (HALF, [np.float16(v) for v in (np.nan, -1.5, -0.0, 0.5, 65504)]),
    "long": (pa.int64(), [-(2**63), -1, 0, 2**53, 2**53 + 1, 2**63 - 1]),
    "unsigned": (pa.uint64(), [0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
    "word": (pa.uint32(), [0, 2**31, 2**32 - 1]),
    "small": (pa.int8(), [-128, 0, 127]),
    "money": (pa.decimal128(9, 2), [Decimal("-0.10"), Decimal("0.00"), Decimal(7)]),
    "wide": (pa.decimal128(38, 3), [Decimal("-1" + "0" * 30), Decimal("0.001")]),
    "day": (pa.date32(), [-5_000_000, -1, 0, 2_000_000]),
    "local": (pa.timestamp("us"), [-(2**61), -1, 0, 2**61]),
    "instant": (ZONED, [-1, 0, 1, 10**12]),
    "clock": (pa.time64("us"), [0, 1, 86_399_999_999]),
    "flag": (pa.bool_(), [False, True]),
}


def as_array(name: str, values: list) -> pa.Array:
    kind = TRAPS[name][0]
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_temporal(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def as_values(name: str, values: list) -> list:
    """Return the values as statistics state them; NaN is left out."""
    unit = {"day": DAY, "local": 1000, "clock": 1000, "instant": 10**6}.get(name)
    stated = [v for v in values if v is not None and v == v]  # noqa: PLR0124
    if name == "text":
        return [v.encode() for v in stated]
    if name in {"single", "half"}:
        return [float(np.float32(v)) for v in stated]
    return stated if unit is None else [v * unit for v in stated]


@st.composite
def columns(draw: st.DrawFn) -> dict[str, list]:
    names = draw(st.lists(st.sampled_from(sorted(TRAPS)), min_size=1, unique=True))
    rows = draw(st.integers(1, 8))
    return {
        name: draw(
            st.lists(
                st.sampled_from([None, *TRAPS[name][1]]), min_size=rows, max_size=rows
            )
        )
        for name in names
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("footers")


@pytest.mark.parametrize("writer", WRITERS)
@settings(deadline=None, max_examples=examples(15, 40))
@given(columns=columns(), size=st.integers(1, 8))
def test_bounds_hold_every_value_and_certain_values_occur(
    folder: Path, writer: str, columns: dict[str, list], size: int
):
    path = folder / f"{writer}.parquet"
    table = pa.table({name: as_array(name, v) for name, v in columns.items()})
    WRITERS[writer](table, path, size)
    footer = footer_of(path).statistics
    assert list(footer) == list(columns)
    for name, values in columns.items():
        stated, present = footer[name], as_values(name, values)
        assert stated.rows == len(values)
        assert stated.nulls in (None, values.count(None))
        assert stated.low is None or all(stated.low <= v for v in present)
        assert stated.high is None or all(stated.high >= v for v in present)
        assert {stated.low_certain, stated.high_certain} <= {None, *present}
        assert present or not stated.has_value


@pytest.mark.parametrize("writer", WRITERS)
def test_the_bounds_of_one_value_are_that_value_or_no_value(folder: Path, writer: str):
    path = folder / f"alone-{writer}.parquet"
    for number in range(max(len(values) for _, values in TRAPS.values())):
        row = {name: [v[number % len(v)]] for name, (_, v) in TRAPS.items()}
        WRITERS[writer](pa.table({n: as_array(n, v) for n, v in row.items()}), path, 1)
        for name, stated in footer_of(path).statistics.items():
            present = as_values(name, row[name])
            assert {stated.low_certain, stated.high_certain} <= {None, *present}
            assert stated.low is None or stated.low <= present[0] <= stated.high


@pytest.mark.parametrize("child", WRITERS)
@pytest.mark.parametrize("parent", WRITERS)
@settings(deadline=None, max_examples=examples(6, 15))
@given(columns=columns(), size=st.integers(1, 8), data=st.data())
def test_no_true_containment_is_refuted(
    tmp_path_factory: pytest.TempPathFactory,
    child: str,
    parent: str,
    columns: dict[str, list],
    size: int,
    data: Any,
):
    """Projected, filtered, shuffled, split into parts: A is in B by its footers."""
    lake = tmp_path_factory.mktemp("lake")
    whole = pa.table({name: as_array(name, v) for name, v in columns.items()})
    rows = data.draw(st.permutations(range(len(whole))))
    kept = data.draw(st.lists(st.sampled_from(list(columns)), min_size=1, unique=True))
    tables = {
        "a": (child, whole.take(rows[: data.draw(st.integers(1, len(rows)))])),
        "b": (parent, whole),
    }
    tables["a"] = child, tables["a"][1].select(kept)
    for name, (writer, table) in tables.items():
        (lake / name).mkdir()
        cut = data.draw(st.integers(0, len(table) - 1))
        parts = [table.slice(0, cut), table.slice(cut)] if cut else [table]
        for number, part in enumerate(parts):
            WRITERS[writer](part, lake / name / f"part-{number}.parquet", size)
    (a, one), (_, other) = survey(LakeSource(str(lake)))
    assert a.name == "a"
    edges = candidate_edges([dict.fromkeys(s, Family.NUMBER) for s in (one, other)])
    assert (0, 1) in zip(edges.child.tolist(), edges.parent.tolist(), strict=True)
    kept_edges = refuting_keys(edges, [one, other], bag=True) < 0
    footer = refute_edge(one, other, {c.name: c.family for c in a.columns}, bag=True)
    assert footer is None
    assert kept_edges[0]


@pytest.mark.slow
@pytest.mark.shared
def test_bounds_of_a_real_lake_are_true_and_lose_no_containment(shared: Path):
    folder = shared / "data" / "lake"
    surveyed = survey(LakeSource(str(folder), include=["**/*.parquet"]))
    assert len(surveyed) == 853
    assert not [table for table, _ in surveyed if table.reason]
    reader = TableReader([table for table, _ in surveyed])
    for number, (table, statistics) in enumerate(surveyed):
        names = [c.name for c in table.columns if c.family in _ORDERED]
        rows = reader.rows(number, range(table.rows), names)
        for name in names:
            stated, column = statistics[name], rows[name].drop_null()
            assert stated.nulls in (None, table.rows - len(column))
            if pa.types.is_floating(column.type):
                column = column.filter(pc.invert(pc.is_nan(column)))
            if not len(column) or stated.low is None:
                continue
            limits = pc.min_max(column.cast(_ORDERED[table.column(name).family]))
            low, high = limits["min"].as_py(), limits["max"].as_py()
            assert stated.low <= low <= high <= stated.high
            assert stated.low_certain in (None, low)
            assert stated.high_certain in (None, high)
    names = [matching_names(s, ignored=["rownames"]) for _, s in surveyed]
    edges = candidate_edges(
        [{c.name: c.family for c in table.columns} for table, _ in surveyed],
        ignored=["rownames"],
    )
    by_key = [
        {key: s[name] for key, name in keys.items()}
        for keys, (_, s) in zip(names, surveyed, strict=True)
    ]
    edges = edges.take(np.flatnonzero(edges.incomparable < 0))
    left = edges.take(np.flatnonzero(refuting_keys(edges, by_key) < 0))
    pairs = {
        (surveyed[a][0].name, surveyed[b][0].name)
        for a, b in zip(left.child, left.parent, strict=True)
    }
    with open(folder / "gold_edges.csv") as lines:
        gold = {(row["child"], row["parent"]) for row in csv.DictReader(lines)}
    assert len(gold) == 105
    assert gold <= pairs
    assert len(pairs) < len(edges) / 2


#: Bounds are compared with the least and greatest value as this type holds them.
_ORDERED = {Family.NUMBER: pa.float64(), Family.TEXT: pa.large_binary()}


SECOND = 10**9
#: The same values in other widths and units: types, least and greatest.
WIDTHS = {
    "number": (
        [
            *(pa.int32(), pa.int64(), pa.uint16(), pa.float32(), pa.float64()),
            *(pa.float16(), pa.decimal128(14, 4)),
        ],
        *(1, 3),
    ),
    "instant": (
        [pa.timestamp(unit, "UTC") for unit in ("s", "ms", "us", "ns")],
        *(SECOND, 3 * SECOND),
    ),
    "date": ([pa.date32(), pa.date64()], DAY, 3 * DAY),
    "time": (
        [pa.time32("s"), pa.time32("ms"), pa.time64("ns")],
        *(SECOND, 3 * SECOND),
    ),
    "duration": (
        [pa.duration(unit) for unit in ("s", "ms", "us", "ns")],
        *(SECOND, 3 * SECOND),
    ),
    "text": (
        [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())],
        *(b"1", b"3"),
    ),
}


@pytest.mark.parametrize("kind", WIDTHS)
def test_width_and_unit_do_not_matter(tmp_path: Path, kind: str):
    widths, low, high = WIDTHS[kind]
    bits = pa.array([1, 3, 2, None], pa.int32() if kind != "instant" else pa.int64())
    first = bits if kind != "duration" else bits.cast(pa.int64())
    base = first.cast(widths[0])
    path = tmp_path / "x.parquet"
    for width in widths:
        pq.write_table(pa.table({"x": base.cast(width)}), path)
        footer = footer_of(path).statistics["x"]
        assert footer == ColumnStatistics(4, 1, low, high, low, high, has_value=True)


def written_by(path: Path, name: bytes) -> None:
    """Put another writer's name of the same length into a file of pyarrow's."""
    stored = path.read_bytes()
    creator = pq.read_metadata(path).created_by.encode()
    assert stored.count(creator) == 1
    path.write_bytes(stored.replace(creator, name.ljust(len(creator))))


def test_a_writer_that_is_not_known_states_bounds_and_no_values(tmp_path: Path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"s": ["b", "c"], "i": [1, 2]}), path)
    written_by(path, b"someone else")
    footer = footer_of(path)
    assert footer.writer == "someone else".ljust(len(footer.writer or ""))
    bounds = ColumnStatistics(2, 0, b"b", b"c", has_value=True)
    # In which order it compares bytes is not known either.
    assert footer.statistics["s"] == ColumnStatistics(2, 0)
    assert footer.statistics["i"] == ColumnStatistics(2, 0, 1, 2, has_value=True)
    written_by(path, b"parquet-mr version 1.13")
    assert footer_of(path).statistics["s"] == bounds
    assert footer_of(path).statistics["i"].low_certain == 1


@pytest.mark.parametrize(
    ("writer", "trusted"),
    [
        (b"parquet-mr version 1.8.2", False),
        (b"parquet-mr version 1.10.0", True),
        (b"parquet-cpp version 1.3.2", False),
        (b"impala version 2.9", False),
        (None, True),
    ],
)
def test_old_writers_do_not_order_decimals_in_bytes(
    tmp_path: Path, writer: bytes | None, trusted: bool
):
    path = tmp_path / "x.parquet"
    values = pa.array([Decimal("-1.5"), Decimal(2)], pa.decimal128(25, 2))
    unsigned = pa.array([1, 2**63 + 5], pa.uint64())
    pq.write_table(pa.table({"d": values, "u": unsigned, "i": [1, 2]}), path)
    if writer is not None:
        written_by(path, writer)
    footer = footer_of(path).statistics
    assert (footer["d"].low is not None) == trusted
    assert (footer["u"].high is not None) == trusted
    assert (footer["i"].low, footer["i"].high) == (1, 2)


def test_a_nan_among_the_bounds_makes_them_unknown(tmp_path: Path):
    path = tmp_path / "nan.parquet"
    pq.write_table(pa.table({"x": [1.0, 7.25]}), path, use_dictionary=False)
    stored = path.read_bytes()
    tail = int.from_bytes(stored[-8:-4], "little") + 8
    data, footer = stored[:-tail], stored[-tail:]
    bound = struct.pack("<d", 7.25)
    assert footer.count(bound) >= 1
    path.write_bytes(data + footer.replace(bound, struct.pack("<d", np.nan)))
    assert footer_of(path).statistics["x"] == ColumnStatistics(2, 0)


def test_what_has_no_order_has_no_bounds(tmp_path: Path):
    table = pa.table(
        {
            "list": [[1], None],
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
            "outer": [{"inner": {"x": 1}, "tags": ["a"]}, None],
            "null": pa.nulls(2),
        }
    )
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    footer = footer_of(path)
    assert {c.name: c.family for c in footer.columns} == {
        "list": Family.NESTED,
        "map": Family.NESTED,
        "outer.inner.x": Family.NUMBER,
        "outer.tags": Family.NESTED,
        "null": Family.NULL,
    }
    for name in ("list", "map", "outer.tags"):
        assert footer.statistics[name] == ColumnStatistics(2)
    leaf = ColumnStatistics(2, 1, 1, 1, 1, 1, has_value=True)
    assert footer.statistics["outer.inner.x"] == leaf
    assert footer.statistics["null"].vacant
    sizes = [
        pq.read_metadata(path).row_group(0).column(i).total_compressed_size
        for i in range(pq.read_metadata(path).num_columns)
    ]
    assert sum(footer.column_bytes.values()) == sum(sizes)


def test_int96_has_no_bounds_and_a_required_column_no_nulls(tmp_path: Path):
    path = tmp_path / "x.parquet"
    when = pa.array([0, 1], pa.timestamp("us"))
    table = pa.table({"t": when, "r": pa.array([1, 2])})
    schema = pa.schema([("t", when.type), pa.field("r", pa.int64(), nullable=False)])
    pq.write_table(
        table.cast(schema),
        path,
        use_deprecated_int96_timestamps=True,
        write_statistics=False,
    )
    footer = footer_of(path).statistics
    assert footer["t"] == ColumnStatistics(2)
    assert footer["r"] == ColumnStatistics(2, nulls=0)


def test_naive_and_zoned_and_days_are_not_comparable(tmp_path: Path):
    path = tmp_path / "x.parquet"
    instant = datetime(2020, 1, 1)
    table = pa.table(
        {
            "naive": pa.array([instant], pa.timestamp("us")),
            "zoned": pa.array([instant], pa.timestamp("us", "UTC")),
            "day": pa.array([date(2020, 1, 1)]),
        }
    )
    pq.write_table(table, path)
    families = [column.family for column in footer_of(path).columns]
    assert families == [Family.NAIVE, Family.ZONED, Family.DATE]
    assert not any(comparable(a, b) for a in families for b in families if a is not b)


def test_two_leaves_with_one_path_are_refused(tmp_path: Path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a.b": [1], "a": [{"b": 2}]}), path)
    with pytest.raises(ValueError, match=r"two columns are called 'a\.b'"):
        footer_of(path)
