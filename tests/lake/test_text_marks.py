"""Text files with a mark of their encoding, and numbers that no double holds."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake

Relations = dict[tuple[str, str], str]


def scan(folder: Path, *settings: str) -> tuple[Relations, dict[str, str]]:
    """The relation of each pair of tables, and why some cannot be read."""
    overrides = [f"input.path={json.dumps(str(folder))}", *settings]
    run = folder.parent / "run"
    result = api.scan(load_lake("table_lake", overrides, str(run)))
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    relations = {(edge["child"], edge["parent"]): edge["relation"] for edge in edges}
    return relations, result.reasons


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lake").mkdir()
    return tmp_path / "lake"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.1000000000000000055", "0.1"),
        ("0.30000000000000001", "0.3"),
        ("9007199254740993, 0.5", "9007199254740993, 0.50"),
        ('{"a": 1.0000000000000001}', '{"a": 1.0}'),
        ("1e400", "1e401"),
    ],
)
@pytest.mark.parametrize(
    "layout", ['{{"k": 1, "n": [{0}]}}\n', '[{{"k": 1, "n": [{0}]}}]']
)
def test_fractions_that_no_double_is_are_compared_by_their_digits(
    folder: Path, one: str, other: str, layout: str
) -> None:
    ending = "json" if layout.startswith("[") else "jsonl"
    for name, text in (("a", one), ("b", other), ("same", one)):
        (folder / f"{name}.{ending}").write_text(layout.format(text))
    relations, reasons = scan(folder)
    assert reasons == {}
    assert relations[f"a.{ending}", f"same.{ending}"] == "duplicate"
    held = ("duplicate", "contained")
    assert relations.get((f"a.{ending}", f"b.{ending}")) not in held


def test_fractions_as_doubles_are_written_stay_numbers(folder: Path) -> None:
    numbers = [0.1, 1 / 3, 2**-1074, 1.7976931348623157e308, 1e22, -0.0, 5e-324, 1.5]
    lines = [f'{{"n": {number!r}}}\n' for number in numbers]
    (folder / "a.jsonl").write_text("".join(lines))
    pq.write_table(pa.table({"n": numbers}), folder / "b.parquet")
    relations, reasons = scan(folder)
    assert reasons == {}
    assert relations["a.jsonl", "b.parquet"] == "duplicate"


def test_a_fraction_beside_text_with_more_digits_than_a_double_is_refused(
    folder: Path,
) -> None:
    (folder / "a.jsonl").write_text('{"n": "x"}\n{"n": 0.1000000000000000055}\n')
    (folder / "b.jsonl").write_text('{"n": "x"}\n{"n": 0.1}\n')
    relations, reasons = scan(folder)
    assert relations == {}
    assert "more digits" in reasons["a.jsonl"]


MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "jsonl.gz", "json.gz"])
def test_files_with_a_byte_order_mark_are_the_table_without(
    folder: Path, ending: str
) -> None:
    rows = [{"id": i, "t": f"ü{i}"} for i in range(5)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = {
        "jsonl": "\n".join(lines),
        "json": f"[{', '.join(lines)}]",
        "csv": "id,t\n" + "".join(f"{row['id']},{row['t']}\n" for row in rows),
    }[ending.partition(".")[0]]
    pack = gzip.compress if ending.endswith("gz") else bytes
    for encoding, mark in MARKED.items():
        path = folder / f"{encoding}.{ending}"
        path.write_bytes(pack(mark + text.encode(encoding)))
    (folder / f"told.{ending}").write_bytes(
        pack(codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    )
    pq.write_table(pa.Table.from_pylist(rows), folder / "plain.parquet")
    relations, reasons = scan(folder, 'csv={"told.*": {encoding: utf-16-le}}')
    assert reasons == {}
    assert len(relations) == 7 * 6
    assert {*relations.values()} == {"duplicate"}
