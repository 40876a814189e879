"""CSV and JSONL: types from every row, and no value changed by its type."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.files.files import Files
from winnow.lake.files.leaves import flattened
from winnow.lake.files.reader import TableReader
from winnow.lake.files.text_readers import sql_source
from winnow.lake.kernels.tables import Family, Table

from tests.examples import examples


def only(path: Path) -> Table:
    (table,) = discover(LakeSource(str(path)))
    return table


def read(table: Table, names: list[str] | None = None) -> pa.Table:
    columns = names or [column.name for column in table.columns]
    batches = [b for _, b in TableReader([table]).batches(0, 0, None, columns)]
    fields = [(name, table.column(name).type) for name in columns]
    return pa.Table.from_batches(batches, pa.schema(fields))


def types(table: Table) -> dict[str, pa.DataType]:
    return {column.name: column.type for column in table.columns}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0", "-1", "9223372036854775807"], pa.int64()),
        (["0", "18446744073709551615"], pa.uint64()),
        (["1", "0.5", "-1e-5", ".5", "NaN", "inf", "0.1000000000000000055"], "text"),
        (["1", "0.5", "-1e-5", ".5", "NaN", "-inf", "0.30000000000000004"], "double"),
        (["1.5", "9007199254740992", "0.10000000000000001", "1e22"], pa.float64()),
        (["1.5", "9007199254740993"], "text"),
        (["007", "7"], "text"),
        (["+1"], "text"),
        (["0x10"], "text"),
        (["1,5", "2"], "text"),
        (["TRUE", "false"], pa.bool_()),
        (["0", "true"], "text"),
        (["2020-02-29", "0001-01-01"], pa.date32()),
        (["2021-02-29"], "text"),
        (["2020-01-01 10:00:00", "2020-01-01T10:00:00.123456"], pa.timestamp("us")),
        (["2020-01-01 10:00:00.123456789"], pa.timestamp("ns")),
        (["2020-01-01T10:00:00Z", "2020-01-01 10:00:00.5+05:30"], "zoned"),
        (["2020-01-01T10:00:00Z", "2020-01-01T10:00:00"], "text"),
        (["", ""], pa.null()),
    ],
)
def test_a_type_is_taken_where_every_value_is_an_exact_notation(
    tmp_path: Path, values: list[str], expected
):
    named = {
        "text": pa.string(),
        "double": pa.float64(),
        "zoned": pa.timestamp("us", "UTC"),
    }
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["x", "y"], *[[value, 1] for value in values]])
    table = only(tmp_path)
    assert table.reason is None
    assert types(table)["x"] == named.get(expected, expected)
    assert read(table).schema.field("x").type == types(table)["x"]
    if expected == "text":
        assert read(table)["x"].to_pylist() == values


def test_a_zoned_instant_is_delivered_as_that_instant(tmp_path: Path):
    text = (
        "t\n2020-01-01T10:00:00Z\n2020-01-01 10:00:00+05:30\n2020-01-01 10:00:00-02\n"
    )
    (tmp_path / "t.csv").write_text(text)
    hours = [v.hour + v.minute / 60 for v in read(only(tmp_path))["t"].to_pylist()]
    assert hours == [10, 4.5, 12]


FIELDS = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(repr),
    st.decimals(allow_nan=False).map(str),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
    st.sampled_from(["", "0", "-0", "1e400", "1e-400", "00", "true", "NaN", "a\nb"]),
)


@settings(deadline=None, max_examples=examples(15, 60))
@given(st.lists(FIELDS, min_size=1, max_size=6))
@example(["-0"])
@example(["1.0", "1e400"])
@example(["1.0", "1e-400"])
def test_no_value_of_a_csv_changes_by_its_type(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
):
    folder = tmp_path_factory.mktemp("csv")
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["n", "x"], *[[1, value] for value in values]])
    table = only(folder)
    assert table.reason is None
    assert table.rows == len(values)
    back: dict[Family, Callable[[str], object]] = {
        Family.NUMBER: lambda t: float(t) if types(table)["x"] == "double" else int(t),
        Family.BOOLEAN: lambda t: t.lower() == "true",
        Family.TEXT: str,
        Family.NULL: lambda _: None,
    }
    family = table.column("x").family
    expected = [None if v == "" else back[family](v) for v in values]
    assert list(map(repr, read(table)["x"].to_pylist())) == list(map(repr, expected))
    if family is Family.NUMBER:
        assert not {"1e400", "1e-400", "00"} & set(values)


def test_types_hold_to_the_last_row(tmp_path: Path):
    rows = 300_000
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("a;b\n" + "1;2\n" * rows + "1.5;\n" + "2;x\n")
    table = only(tmp_path)
    assert types(table) == {"a": pa.float64(), "b": pa.string()}
    whole = read(table)
    assert table.rows == len(whole) == rows + 2
    assert whole["a"][-2:].to_pylist() == [1.5, 2.0]
    assert whole["b"][-2:].to_pylist() == [None, "x"]
    firsts = [first for first, _ in TableReader([table]).batches(0, 0, None, ["b"])]
    assert len(firsts) > 1
    picked = TableReader([table]).rows(0, [rows + 1, 0, rows, 0], ["b", "a"])
    assert picked.to_pydict() == {"b": ["x", "2", None, "2"], "a": [2, 1, 1.5, 1]}


def test_an_empty_field_is_null_and_a_quoted_one_is_empty_text(tmp_path: Path):
    (tmp_path / "t.csv").write_text('\ufeffa,"b\nc"\n"",1\n,2\n')
    table = only(tmp_path)
    assert read(table).to_pydict() == {"a": ["", None], "b\nc": [1, 2]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("long.csv", b"a,b\n1,2,3\n", "Line: 2"),
        ("short.csv", b"a,b\n1\n", "Line: 2"),
        ("quote.csv", b'a,b\n"x,1\n', "Line: 2"),
        ("latin.csv", b"a,b\n" + b"1,2\n" * 70_000 + b"\xff,1\n", "utf-8"),
        ("empty.csv", b"", "no first line"),
        ("header.csv", b'a,"b\n1,2\n3,4\n', "malformed"),
        ("odd.csv", b'a,b"c"d,"e"f\n1,2,3\n', "malformed"),
        ("torn.jsonl", b'{"a":1}\n{"a":\n', "Malformed JSON"),
        ("array.jsonl", b'{"a":1}\n[1]\n', "no JSON object"),
        ("latin.jsonl", b'{"a":"\xff"}\n', "UTF-8"),
        ("torn.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9_999, mtime=0)[:-20], ""),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_says_why(
    tmp_path: Path, name: str, content: bytes, words: str
):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.csv").write_text("a\n1\n")
    tables = {table.name: table for table in discover(LakeSource(str(tmp_path)))}
    assert words in (tables[name].reason or "")
    assert tables[name].reason
    assert tables[name].columns == ()
    assert tables["good.csv"].reason is None


JSONL = (
    '{"a": 1, "b": {"c": "2020-01-01", "d": [1, {"e": 2}]}, "m": 1, "n": null}\n'
    "\n"
    '{"a": 2.5, "b": null, "m": "x", "k": {"q": 1}, "u": 18446744073709551615}\n'
)


def test_json_has_types_of_its_own(tmp_path: Path):
    (tmp_path / "t.ndjson").write_text(JSONL)
    table = only(tmp_path)
    assert {c.name: c.family for c in table.columns} == {
        "a": Family.NUMBER,
        "b.c": Family.TEXT,
        "b.d": Family.NESTED,
        "m": Family.TEXT,
        "n": Family.NULL,
        "k.q": Family.NUMBER,
        "u": Family.NUMBER,
    }
    assert read(table).to_pylist() == [
        {
            **{"a": 1.0, "b.c": "2020-01-01", "b.d": ["1", '{"e":2}'], "m": "1"},
            **{"n": None, "k.q": None, "u": None},
        },
        {
            **{"a": 2.5, "b.c": None, "b.d": None, "m": '"x"', "n": None},
            **{"k.q": 1, "u": 2**64 - 1},
        },
    ]
    assert read(table, ["k.q", "a"]).column_names == ["k.q", "a"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.jsonl", JSONL), ("t.csv", 'id,"o""k",z\n1,"it\'s",007\n2,,\n')],
)
def test_sql_reads_what_the_reader_delivers(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    table = only(tmp_path)
    with duckdb.connect() as connection:
        source = sql_source(Files(), table.parts[0], table.columns)
        rows = connection.sql(f"FROM {source}").to_arrow_table()
    names = [column.name for column in table.columns]
    batches = [flattened(batch, names) for batch in rows.to_batches()]
    assert pa.Table.from_batches(batches).to_pydict() == read(table).to_pydict()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("date=2020-01-01/t.csv", "id,date\n1,x\n2,y\n"),
        ("c0=7/t.csv", "id,k\n1,x\n"),
        ("json=7/t.jsonl", '{"id":1,"json":"x"}\n'),
        ("p=a/q=b/t.csv", "id,k\n1,x\n"),
    ],
)
def test_a_table_is_what_its_file_holds_whatever_its_folder_is_called(
    tmp_path: Path, name: str, text: str
):
    file, plain = tmp_path / name, tmp_path / ("plain" + Path(name).suffix)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    plain.write_text(text)
    table, other = only(file.parent), only(plain)
    assert table.columns == other.columns
    assert read(table).to_pydict() == read(other).to_pydict()
    with duckdb.connect() as connection:
        source = sql_source(Files(), table.parts[0], table.columns)
        rows = connection.sql(f"FROM {source}").to_arrow_table()
    names = [column.name for column in table.columns]
    batches = [flattened(batch, names) for batch in rows.to_batches()]
    assert pa.Table.from_batches(batches).to_pydict() == read(table).to_pydict()
