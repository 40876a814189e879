"""CSV and TSV pools: rows as `csv` and polars read them, handed on byte for byte."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import winnow as api
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.core.errors import InputError
from winnow.formats.csv_shards import CsvFormat
from winnow.formats.jsonl_fields import LINE
from winnow.formats.shard_discovery import find_pool, read_footers
from winnow.formats.shard_protocol import Unreadable

from tests.examples import examples

CSV = CsvFormat()


def write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def rows_of(path: str, columns: list[str] | None = None) -> list[Any]:
    """Return all rows in order: dictionaries, or the reason of one that is broken."""
    footer = CSV.footer(path)
    names = columns or [name for name in footer.schema.names if name != LINE]
    rows: list[Any] = []
    for start, part in CSV.read_rows(path, np.arange(footer.rows), names):
        assert start == len(rows)
        unread = isinstance(part, Unreadable)
        rows += [part.reason] * part.rows if unread else part.to_pylist()
    assert len(rows) == footer.rows
    return rows


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=12),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
@settings(max_examples=examples(20, 60), deadline=None)
def test_what_pythons_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    ends: str,
    marked: bool,
    quoting: int,
):
    if quoting == csv.QUOTE_MINIMAL:
        # Python's writer leaves a lone CR unquoted, where no reader keeps it.
        rows = [tuple(value.replace("\r", "r") for value in row) for row in rows]
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    writer.writerow(["uid", "text", "x"])
    # The letter keeps columns from being read as numbers.
    writer.writerows([(f"u{a}", f"t{b}", f"v{c}") for a, b, c in rows])
    data = b"\xef\xbb\xbf" * marked + out.getvalue().encode()
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", data)
    expected = [{"uid": f"u{a}", "text": f"t{b}", "x": f"v{c}"} for a, b, c in rows]
    assert rows_of(path) == expected
    # Any rows, in order, one by one: positions are true.
    chosen = np.arange(1, len(rows), 2)
    parts = [part for _, part in CSV.read_rows(path, chosen, ["x"])]
    read = [row["x"] for part in parts for row in part.to_pylist()]
    assert read == [expected[i]["x"] for i in chosen]


def test_columns_of_numbers_hold_numbers_and_codes_stay_text(tmp_path: Path):
    data = b"uid,n,share,code,none\n1,5,0.5,007,\n2,,1e3,12,\n3,-7,2,9,\n"
    path = write(tmp_path / "a.csv", data)
    schema = CSV.footer(path).schema
    kinds = {f.name: str(f.type) for f in schema if f.name != LINE}
    assert kinds == {
        "uid": "int64",
        "n": "int64",
        "share": "double",
        "code": "string",
        "none": "string",
    }
    assert [row["n"] for row in rows_of(path)] == [5, None, -7]
    assert [row["share"] for row in rows_of(path)] == [0.5, 1000.0, 2.0]
    assert [row["code"] for row in rows_of(path)] == ["007", "12", "9"]


def test_broken_records_cost_their_row_and_name_their_line(tmp_path: Path):
    data = (
        b'uid,text\na,"one\ntwo"\nb\nc,too,many\n\nd,"never closed\n'
        b'e,fine\nf,"odd"quote\ng,5" nail\n'
    )
    path = write(tmp_path / "a.csv", data)
    rows = rows_of(path)
    assert rows[0] == {"uid": "a", "text": "one\ntwo"}
    assert rows[1] == "ragged_row: line 4 has 1 fields, the first line names 2"
    assert rows[2] == "ragged_row: line 5 has 3 fields, the first line names 2"
    assert rows[3].startswith("broken_record: line 7: ")
    assert rows[4] == {"uid": "e", "text": "fine"}
    assert rows[5].startswith("broken_record: line 9: ")
    assert rows[6] == {"uid": "g", "text": '5" nail'}
    lines = [row[LINE] for row in rows_of(path, [LINE])]
    assert lines[1:4] == [b"b", b"c,too,many", b'd,"never closed']


def test_a_quote_that_never_closes_costs_its_line_among_many(tmp_path: Path):
    lines = [f"u{i},text {i}" for i in range(50_000)]
    lines[10] = 'u10,"never'
    path = write(tmp_path / "a.csv", "\n".join(["uid,text", *lines]).encode())
    rows = np.array([9, 10, 11, 49_999])
    parts = [part for _, part in CSV.read_rows(path, rows, ["uid"])]
    assert [part.to_pylist() for part in (parts[0], parts[2])] == [
        [{"uid": "u9"}],
        [{"uid": "u11"}, {"uid": "u49999"}],
    ]
    assert parts[1].reason.startswith("broken_record: line 12: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        ("uid,text\na,b\n".encode("utf-16"), "UTF-16.*iconv"),
        (b"uid,\na,b\n", "column 2 of the first line has no name"),
        (b"uid,uid\na,b\n", "stands there twice"),
    ],
)
def test_a_file_that_names_no_columns_is_refused(
    tmp_path: Path, data: bytes, said: str
):
    path = write(tmp_path / "a.csv", data)
    with pytest.raises(InputError, match=said):
        read_footers([path], kind=CSV)


def test_a_cut_archive_is_refused_and_files_of_other_columns(tmp_path: Path):
    whole = gzip.compress(b"uid,text\n" + b"a,b\n" * 5000)
    path = write(tmp_path / "a.csv.gz", whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated"):
        CSV.footer(path)
    paths = [
        write(tmp_path / "x.csv", b"uid,text\na,b\n"),
        write(tmp_path / "y.csv", b"text,uid\na,b\n"),
    ]
    with pytest.raises(InputError, match=r"y\.csv: its first line is not that"):
        read_footers(paths, kind=CSV)


def run(pool: Path | str, out: Path, **more: Any) -> Any:
    recipe = {
        "input": {"path": str(pool), **more},
        "output": {"path": str(out), "report": False},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption"]},
    }
    return api.run(recipe)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv"])
def test_a_named_csv_is_run_and_kept_in_kind(tmp_path: Path, name: str):
    tab = "\t" if "tsv" in name else ","
    lines = [
        tab.join(["uid", "text", "n"]),
        tab.join(["u1", '"one, ""two""\r\nthree"', "1"]),
        tab.join(["u2", '"one, ""two""\r\nthree"', "2"]),
        tab.join(["u3", "ü", "03"]),
        "ragged",
    ]
    data = "\n".join(lines).encode()
    path = write(tmp_path / name, gzip.compress(data) if "gz" in name else data)
    result = run(path, tmp_path / "run")
    counts = (result.rows, result.kept, result.dropped, result.quarantined)
    assert counts == (4, 2, 1, 1)
    (kept,) = (tmp_path / "run" / "kept").iterdir()
    assert kept.name == "part-00000" + name[1:]
    raw = kept.read_bytes()
    raw = gzip.decompress(raw) if "gz" in name else raw
    # What is kept is as it was, byte for byte.
    assert raw == "\n".join([lines[0], lines[1], lines[3], ""]).encode()
    read = pl.read_csv(raw, separator=tab, schema_overrides={"n": pl.String})
    assert read["text"].to_list() == ['one, "two"\r\nthree', "ü"]
    assert result.run.kept(["n"])["n"].to_pylist() == ["1", "03"]
    (row,) = result.run.query("SELECT reason, raw FROM quarantine").to_pylist()
    assert row["reason"].startswith("ragged_row: line 7 ")
    assert row["raw"]["line"] == b"ragged"
    # Kept rows are a pool again.
    assert run(tmp_path / "run" / "kept", tmp_path / "again").kept == 2


def test_bytes_that_are_no_utf8_are_quarantined_like_those_of_parquet(tmp_path: Path):
    data = "uid,text\na,caf\xe9\nb,plain\n".encode("latin-1")
    result = run(write(tmp_path / "a.csv", data), tmp_path / "run")
    assert (result.kept, result.quarantined) == (1, 1)
    assert result.run.quarantine()["reason"].to_pylist() == ["text_not_utf8"]


def test_columns_of_two_files_are_one(tmp_path: Path):
    write(tmp_path / "p" / "a.csv", b"uid,text,n\na,x,1\n")
    write(tmp_path / "p" / "b.csv", b"uid,text,n\nb,y,0.5\n")
    found = find_pool(str(tmp_path / "p"))
    _, schema, _ = read_footers(found.paths, kind=found.kind)
    assert schema.field("n").type == pa.float64()
    assert run(tmp_path / "p", tmp_path / "r").run.kept(["n"])["n"].to_pylist() == [
        1.0,
        0.5,
    ]


def test_the_same_rows_as_csv_and_as_parquet_are_decided_alike(
    tmp_path: Path, write_shards: Callable[..., Path]
):
    texts = [f"caption {i % 7}, “{i % 3}”\n" for i in range(40)]
    table = pa.table({"uid": [f"u{i}" for i in range(40)], "text": texts})
    pl.DataFrame(pl.from_arrow(table)).write_csv(tmp_path / "a.csv")
    pool = write_shards(tmp_path / "p", table)
    kept = [
        run(path, tmp_path / name).run.kept()["uid"].to_pylist()
        for name, path in (("c", tmp_path / "a.csv"), ("d", pool))
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 21


def _kept(folder: Path) -> str:
    return (folder / "run" / "kept" / "part-00000.tsv").read_text()


def _pool(tmp_path: Path, path: str, **given: Any) -> Any:
    return api.run(
        {
            "input": {"path": path, **given},
            "output": {"path": str(tmp_path / "run"), "report": False},
            "steps": ["exact", "apply"],
            "exact": {"by": ["caption"]},
        }
    )


def test_a_list_of_captions_and_paths_has_no_header(tmp_path: Path):
    lines = ["a dog on grass\timg/1.jpg", "a cat\timg/2.jpg", "a cat\thttp://h/3"]
    path = write(tmp_path / "cc3m.tsv", "\n".join(lines).encode())
    assert rows_of_tsv(path) == [
        {"text": line.split("\t")[0], "image": line.split("\t")[1]} for line in lines
    ]
    run = _pool(tmp_path, path, columns={"uid": None, "image": None})
    assert (run.kept, run.dropped) == (2, 1)
    kept = _kept(tmp_path)
    assert kept == "\n".join(lines[:2]) + "\n"
    # What is kept is such a list again, and SQL reads the pool as the run did.
    assert len(rows_of_tsv(str(tmp_path / "run/kept/part-00000.tsv"))) == 2
    assert len(run.run.query("SELECT text FROM samples").to_pylist()) == 3


def rows_of_tsv(path: str) -> list[dict[str, Any]]:
    shards = find_pool(path)
    footer = shards.kind.footer(path)
    names = [name for name in footer.schema.names if name != LINE]
    parts = shards.kind.read_rows(path, np.arange(footer.rows), names)
    return [row for _, part in parts for row in part.to_pylist()]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_what_the_recipe_says_of_a_csv_file_is_how_it_is_read(
    tmp_path: Path, encoding: str
):
    texts = ["déjà vu", "naïve", "naïve"]
    rows = [f"{number}:{text}" for number, text in enumerate(texts)]
    path = write(tmp_path / "p.tsv", "\n".join(rows).encode(encoding))
    dialect = {
        "delimiter": ":",
        "header": False,
        "columns": ["uid", "text"],
        "encoding": encoding,
    }
    run = _pool(tmp_path, path, csv=dialect, columns={"image": None})
    assert (run.kept, run.dropped, run.quarantined) == (2, 1, 0)
    samples = run.run.query("SELECT text FROM samples ORDER BY uid").to_pylist()
    assert [row["text"] for row in samples] == texts
    kept = (tmp_path / "run/kept/part-00000.tsv").read_bytes()
    assert kept == ("\n".join(rows[:2]) + "\n").encode(encoding)


@pytest.mark.parametrize(
    ("data", "csv_section", "told"),
    [
        (
            b"a.jpg,b.jpg,c\n",
            {},
            "is a row of 3 values; name them by input.csv.columns",
        ),
        (b"a,b\n", {"header": False, "columns": ["a"]}, "is a row of 2 values"),
        (b"a,b\n", {"encoding": "utf-16"}, "a letter takes several bytes"),
        (b"a,b\n", {"encoding": "shift_jis"}, "a letter takes several bytes"),
        (b"a,b\n", {"encoding": "nope"}, "there is no encoding 'nope'"),
        (b"a,b\n", {"delimiter": "::"}, "input.csv.delimiter"),
        (b"a.jpg,b\nx,y\n", {"header": True}, "no column 'text'"),
    ],
)
def test_what_a_csv_file_cannot_be_is_said(
    tmp_path: Path, data: bytes, csv_section: dict[str, Any], told: str
):
    path = write(tmp_path / "p.csv", data)
    with pytest.raises(api.WinnowError, match=told):
        _pool(tmp_path, path, csv=csv_section, columns={"uid": None, "image": None})


def test_parquet_takes_no_settings_of_csv(tmp_path: Path):
    pl.DataFrame({"uid": ["a"], "text": ["b"]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(api.WinnowError, match=r"input\.csv: the pool is Parquet"):
        _pool(tmp_path, str(tmp_path / "p.parquet"), csv={}, columns={"image": None})
