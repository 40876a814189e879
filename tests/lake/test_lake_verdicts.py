"""What a scan says of small files that were once told wrong, each kind of them."""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan
from winnow.lake.plan import plan_lake

Relations = dict[tuple[str, str], str]
#: Reading cheap, keeping dear: whatever may go goes.
CHEAP = ("plan.maintenance_per_table=1",)


def scan(folder: Path, *settings: str) -> tuple[Relations, dict[str, str]]:
    """The relation of each pair of tables, and why some cannot be read."""
    overrides = [f"input.path={json.dumps(str(folder))}", *CHEAP, *settings]
    run = folder.parent / "run"
    result = api.scan(load_lake("table_lake", overrides, str(run)))
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    relations = {(edge["child"], edge["parent"]): edge["relation"] for edge in edges}
    return relations, result.reasons


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lake").mkdir()
    return tmp_path / "lake"


def test_equal_values_in_another_type_are_said(folder: Path) -> None:
    pq.write_table(
        pa.table({"v": pa.array([0.5, 1.5], pa.float32())}), folder / "f.parquet"
    )
    pq.write_table(pa.table({"v": [0.5, 1.5]}), folder / "d.parquet")
    relations, _ = scan(folder)
    assert set(relations.values()) == {"duplicate"}
    edges = pq.read_table(folder.parent / "run" / "edges.parquet").to_pylist()
    told = {edge["child"]: edge["reason"] for edge in edges}
    assert told["f.parquet"].endswith("v is equal by value, type float → double")
    assert told["d.parquet"].endswith("v is equal by value, type double → float")


def test_a_gap_leaves_a_column_of_csv_its_type(folder: Path) -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3, 4], "Int64"),
            "real": [0.5, None, 1.5, 2.0],
            "day": pd.to_datetime(["2020-01-01", None, "2020-01-03", "2020-01-04"]),
            "flag": pd.array([True, None, False, True], "boolean"),
            "text": ["a", None, "b", "c"],
        }
    )
    frame["day"] = frame["day"].dt.date
    frame.to_csv(folder / "all.csv", index=False)
    frame.to_parquet(folder / "all.parquet", index=False)
    frame.dropna().to_csv(folder / "whole.csv", index=False)
    relations, reasons = scan(folder)
    assert reasons == {}
    assert relations["all.csv", "all.parquet"] == "duplicate"
    assert relations["all.parquet", "all.csv"] == "duplicate"
    for parent in ("all.csv", "all.parquet"):
        assert relations["whole.csv", parent] == "contained"
        assert relations[parent, "whole.csv"] in ("refuted", "partial")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (2**64, 2**64 + 1),
        (10**30, 10**30 + 1),
        (-(2**63) - 1, -(2**63) - 2),
        ([0.5, 2**53 + 1], [0.5, 2**53]),
    ],
)
def test_numbers_that_no_type_holds_are_told_apart(
    folder: Path, one: Any, other: Any
) -> None:
    for name, values in (("a", one), ("b", other), ("same", one)):
        several = values if isinstance(values, list) else [values]
        lines = [json.dumps({"n": value, "s": {"m": [value]}}) for value in several]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    relations, reasons = scan(folder)
    assert reasons == {}
    assert relations["a.jsonl", "same.jsonl"] == "duplicate"
    assert relations["a.jsonl", "b.jsonl"] != "duplicate"
    assert relations["b.jsonl", "a.jsonl"] not in ("duplicate", "contained")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9007199254740993", "9007199254740992"),
        ("1.5000000000000001", "1.5"),
        ("123456789012345678e3", "123456789012345679e3"),
        ("0.29999999999999998", "0.29999999999999999"),
    ],
)
def test_texts_of_one_double_are_told_apart(folder: Path, one: str, other: str) -> None:
    assert float(one) == float(other)
    for name, text in (("a", one), ("b", other), ("same", one)):
        (folder / f"{name}.csv").write_text(f"x,n\n{text},1\n0.5,2\n")
    relations, _ = scan(folder)
    assert relations["a.csv", "same.csv"] == "duplicate"
    held = ("duplicate", "contained")
    assert relations["a.csv", "b.csv"] not in held
    assert relations["b.csv", "a.csv"] not in held


@pytest.mark.parametrize(
    "twice",
    [
        '{"k": 1, "k": 2}',
        '{"k": 1, "s": {"a": 1, "a": 1}}',
        '{"k": 1, "l": [{"a": 1}, {"b": 2, "b": 3}]}',
        '{"k": 1, "l": [[{"b": {"c": 2, "c": 3}}]]}',
        r'{"k": 1, "a\"b\\c[*].$": {"c": 2, "c": 3}}',
    ],
)
def test_an_object_that_says_a_key_twice_makes_a_file_unreadable(
    folder: Path, twice: str
) -> None:
    # Of the two values DuckDB takes the first, Python the last.
    (folder / "twice.jsonl").write_text(f'{{"k": 3, "k2": "k"}}\n{twice}\n')
    (folder / "once.jsonl").write_text('{"k": 3}\n{"k": 1}\n')
    relations, reasons = scan(folder)
    assert relations == {}
    assert "a key twice" in reasons["twice.jsonl"]


@pytest.mark.parametrize(
    "header", ['a,"b', 'a,"b"c', '"a"x,b', 'a,"b""', '"a,b', '"a\nb'], ids=range(6)
)
def test_a_malformed_quote_in_a_header_makes_a_file_unreadable(
    folder: Path, header: str
) -> None:
    (folder / "broken.csv").write_text(f"{header}\n1,2\n3,4\n")
    (folder / "sound.csv").write_text("a,b\n1,2\n3,4\n")
    relations, reasons = scan(folder)
    assert list(reasons) == ["broken.csv"]
    assert relations == {}


def test_a_null_struct_is_no_struct_of_nulls(folder: Path) -> None:
    kind = pa.struct([("a", pa.int64()), ("in", pa.struct([("b", pa.string())]))])
    rows: dict[str, list[Any]] = {
        "null": [None, {"a": 1, "in": None}],
        "nulls": [{"a": None, "in": {"b": None}}, {"a": 1, "in": None}],
        "inner": [{"a": None, "in": None}, {"a": 1, "in": None}],
        "both": [
            *(None, {"a": 1, "in": None}, {"a": None, "in": None}),
            {"a": None, "in": {"b": None}},
        ],
    }
    for name, values in rows.items():
        pq.write_table(pa.table({"s": pa.array(values, kind)}), folder / f"{name}.pq")
        lines = "".join(json.dumps({"s": value}) + "\n" for value in values)
        (folder / f"{name}.jsonl").write_text(lines)
    relations, _ = scan(folder)
    for one in rows:
        for other in rows:
            if one != other:
                relation = relations[f"{one}.pq", f"{other}.pq"]
                assert (relation == "contained") == (other == "both"), (one, other)
    assert relations["both.pq", "both.jsonl"] == "duplicate"
    plan = plan_lake(str(folder.parent / "run"))
    gone = {row["table"] for row in plan["plan"] if row["action"] == "delete"}
    assert {"null.pq", "nulls.pq", "inner.pq"} <= gone


def test_columns_without_a_name_are_compared(folder: Path) -> None:
    frame = pd.DataFrame({"x": [5, 6, 7], "y": ["a", "b", "c"]})
    frame.to_csv(folder / "frame.csv")
    frame.iloc[1:].to_csv(folder / "slice.csv")
    (folder / "other.csv").write_text(",x,y\nk,5,a\n")
    relations, reasons = scan(folder)
    assert reasons == {}
    assert relations["slice.csv", "frame.csv"] == "contained"
    assert "contained" not in (
        relations["other.csv", "frame.csv"],
        relations["frame.csv", "slice.csv"],
    )
    plan = plan_lake(str(folder.parent / "run"))
    assert [r["table"] for r in plan["plan"] if r["action"] == "delete"] == [
        "slice.csv"
    ]


def packed(name: str) -> Callable[[Path, bytes], Any]:
    def as_zip(path: Path, content: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside.csv", content)

    ways: dict[str, Callable[[Path, bytes], Any]] = {
        "bz2": lambda path, content: path.write_bytes(bz2.compress(content)),
        "xz": lambda path, content: path.write_bytes(lzma.compress(content)),
        "zip": as_zip,
    }
    return ways[name]


def test_text_in_other_encodings_packings_and_dialects_is_the_same_table(
    folder: Path,
) -> None:
    text = "näme,value\nÄrger,1\nÖl,\nß,3\n"
    (folder / "plain.csv").write_text(text, encoding="utf-8")
    (folder / "utf16.csv").write_text(text, encoding="utf-16")
    (folder / "latin.csv").write_text(text, encoding="latin-1")
    commented = "# made by hand\n" + text.replace("Öl,", "# none\nÖl,NA")
    (folder / "notes.csv").write_text(commented)
    (folder / "bar.psv").write_text(text.replace(",", "|"))
    for way in ("bz2", "xz", "zip"):
        packed(way)(folder / f"small.csv.{way}", text.encode())
    told = (
        "{latin.csv: {encoding: latin-1}, notes.csv: {comment: '#', null_values: NA}}"
    )
    options = f"csv={told}"
    relations, reasons = scan(folder, options)
    assert reasons == {}
    assert len(relations) == 8 * 7
    assert set(relations.values()) == {"duplicate"}
    (folder / "latin.csv").rename(folder / "unsaid.csv")
    _, reasons = scan(folder, options)
    assert list(reasons) == ["unsaid.csv"]
    assert "encoding" in reasons["unsaid.csv"]


def test_headers_that_say_a_name_twice_number_it(folder: Path) -> None:
    (folder / "twice.csv").write_text("a,a,b\n1,2,3\n")
    (folder / "named.csv").write_text("a,a.1,b\n1,2,3\n")
    relations, reasons = scan(folder)
    assert reasons == {}
    assert relations["twice.csv", "named.csv"] == "duplicate"


def test_an_encrypted_column_is_a_reason_and_no_end_of_the_process(
    folder: Path,
) -> None:
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Client(encryption.KmsClient):
        def __init__(self, _: Any) -> None:
            encryption.KmsClient.__init__(self)

        def wrap_key(self, key: bytes, _: str) -> str:
            return base64.b64encode(key).decode()

        def unwrap_key(self, key: str, _: str) -> bytes:
            return base64.b64decode(key)

    table = pa.table({"id": [1, 2], "secret": ["a", "b"]})
    properties = encryption.CryptoFactory(Client).file_encryption_properties(
        encryption.KmsConnectionConfig(),
        encryption.EncryptionConfiguration(
            footer_key="f", column_keys={"c": ["secret"]}, plaintext_footer=True
        ),
    )
    path = folder / "secret.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as out:
        out.write_table(table)
    pq.write_table(table, folder / "open.parquet")
    pq.write_table(table.slice(1), folder / "slice.parquet")
    relations, reasons = scan(folder)
    assert list(reasons) == ["secret.parquet"]
    assert "encrypted" in reasons["secret.parquet"]
    assert relations["slice.parquet", "open.parquet"] == "contained"


@pytest.mark.shared
def test_the_files_that_other_readers_are_tested_with_stop_no_scan(
    shared: Path, folder: Path
) -> None:
    files = shared / "data" / "outside" / "parquet-testing"
    if not files.is_dir():
        pytest.skip("no parquet-testing")
    for number, path in enumerate(sorted(files.rglob("*.parquet*"))):
        if path.is_file():
            name = path.name.replace(".encrypted", "")
            shutil.copy(path, folder / f"{number:03d}-{name.split('.')[0]}.parquet")
    _, reasons = scan(folder, "partial.read_all=true")
    assert sum("encrypt" in reason for reason in reasons.values()) >= 5
    assert len(reasons) < 40


def test_columns_are_compared_by_text_where_their_types_do_not_agree(
    folder: Path,
) -> None:
    written = {
        "zips.csv": "zip,n\n02139,1\n90210,2\n10001,3\n",
        "slice.csv": "zip,n\n90210,2\n10001,3\n",
        "other.csv": "zip,n\n2139,1\n",
        "gaps.csv": "x\n1\nNA\n3.5\n",
        "whole.csv": "x\n1\n3.5\n",
        "more.csv": "x\n1\n3.50\n",
        "mixed.jsonl": '{"m": 1}\n{"m": "x"}\n{"m": null}\n{"m": true}\n',
        "numbers.jsonl": '{"m": 1}\n',
        "texts.jsonl": '{"m": "x"}\n',
        "false.jsonl": '{"m": "1"}\n',
    }
    for name, text in written.items():
        (folder / name).write_text(text)
    for year in ("2019", "2020a"):
        (folder / "hive" / f"year={year}").mkdir(parents=True)
        pq.write_table(
            pa.table({"v": [1]}), folder / "hive" / f"year={year}" / "a.parquet"
        )
    (folder / "part" / "year=2019").mkdir(parents=True)
    pq.write_table(pa.table({"v": [1]}), folder / "part" / "year=2019" / "a.parquet")
    pq.write_table(pa.table({"zip": ["90210"], "n": [2]}), folder / "texts.parquet")
    pq.write_table(pa.table({"zip": [90210], "n": [2]}), folder / "number.parquet")
    relations, reasons = scan(folder)
    assert reasons == {}
    held = {pair for pair, kind in relations.items() if kind in HELD}
    assert held == {
        ("slice.csv", "zips.csv"),
        ("texts.parquet", "zips.csv"),
        ("texts.parquet", "slice.csv"),
        ("number.parquet", "slice.csv"),
        ("whole.csv", "gaps.csv"),
        # By value: 3.5 is 3.50, and only a text is another one.
        ("whole.csv", "more.csv"),
        ("more.csv", "whole.csv"),
        ("numbers.jsonl", "mixed.jsonl"),
        ("texts.jsonl", "mixed.jsonl"),
        ("false.jsonl", "numbers.jsonl"),
        ("numbers.jsonl", "false.jsonl"),
        ("part", "hive"),
    }
    again, _ = scan(folder)
    assert again == relations
    plan = plan_lake(str(folder.parent / "run"))["plan"]
    gone = {row["table"]: row["parent"] for row in plan if row["action"] == "delete"}
    assert gone["whole.csv"] == "gaps.csv"
    assert gone["part"] == "hive"
    # 3.50 would be 3.5, and an object's number or text its notation in JSON.
    assert {"more.csv", "numbers.jsonl", "texts.jsonl"}.isdisjoint(gone)
    done = apply_plan(str(folder.parent / "run"))
    assert set(done["moved"]) == set(gone)


HELD = ("duplicate", "contained")


def test_numbers_written_otherwise_are_equal_by_value_and_do_not_go(
    folder: Path,
) -> None:
    (folder / "a.csv").write_text("version,n\n3.10,1\n3.9,2\n")
    (folder / "b.csv").write_text("version,n\n3.1,1\n3.9,2\n")
    relations, _ = scan(folder)
    assert set(relations.values()) == {"duplicate"}
    run = str(folder.parent / "run")
    rows = plan_lake(run)["plan"]
    assert [row["action"] for row in rows] == ["keep", "keep"]
    rows = plan_lake(run, ["plan.types=relaxed"])["plan"]
    assert sorted(row["action"] for row in rows) == ["delete", "keep"]


def test_a_cut_reason_keeps_its_cause(folder: Path) -> None:
    long = ",".join(["x" * 90] * 9)
    (folder / "late.csv").write_bytes(
        b"a,b\n" + b"1,2\n" * 70_000 + long.encode() + b"\n"
    )
    (folder / "bytes.csv").write_bytes(b"a,b\n" + b"1,2\n" * 9 + b"\xff\xfe,1\n")
    _, reasons = scan(folder)
    assert "Line: 70002" in reasons["late.csv"]
    assert "Expected Number of Columns: 2" in reasons["late.csv"]
    assert "unicode" in reasons["bytes.csv"].lower() or "utf-8" in reasons["bytes.csv"]
