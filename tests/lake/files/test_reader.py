"""Rows of tables by reference, whatever their parts are."""

from __future__ import annotations

import pickle
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.files.leaves import decodable
from winnow.lake.files.reader import TableReader, UnreadableTable
from winnow.lake.kernels.tables import Family

from tests.examples import examples

ROWS = 1_000


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> TableReader:
    """Three parts of several row groups; `n` counts all rows of the table."""
    folder = tmp_path_factory.mktemp("lake")
    first = 0
    for part, size in enumerate((ROWS, 0, ROWS // 2)):
        table = pa.table(
            {
                "n": np.arange(first, first + size),
                "s": pa.StructArray.from_arrays(
                    [np.arange(size), pa.array(["x"] * size, pa.string())],
                    ["a", "b"],
                    mask=pa.array(np.arange(size) % 3 == 0),
                ),
            }
        )
        path = folder / "t" / f"k={part}" / "data.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path, row_group_size=170)
        first += size
    return TableReader(discover(LakeSource(str(folder))))


def test_positions_count_over_parts_and_row_groups(reader: TableReader):
    (table,) = reader.tables
    assert [len(part.row_groups) for part in table.parts] == [6, 1, 3]
    worker = pickle.loads(pickle.dumps(reader))
    seen = []
    for part, stored in enumerate(table.parts):
        for group in (None, *range(len(stored.row_groups))):
            for first, batch in worker.batches(0, part, group, ["k", "n", "s.a"]):
                assert batch.schema.names == ["k", "n", "s.a"]
                numbers = batch["n"].to_numpy()
                assert numbers.tolist() == list(range(first, first + len(batch)))
                assert set(batch["k"].to_pylist()) == {part}
                inside = numbers - (ROWS if part == 2 else 0)
                expected = [None if i % 3 == 0 else i for i in inside.tolist()]
                assert batch["s.a"].to_pylist() == expected
                seen.append(numbers)
    twice = np.sort(np.concatenate(seen))
    assert twice.tolist() == np.repeat(np.arange(table.rows), 2).tolist()


@settings(deadline=None, max_examples=examples(15, 30))
@given(st.lists(st.integers(0, ROWS + ROWS // 2 - 1), max_size=20))
def test_rows_come_in_the_order_asked_for(reader: TableReader, positions: list[int]):
    rows = reader.rows(0, positions, ["n", "k"])
    assert rows["n"].to_pylist() == positions
    assert rows["k"].to_pylist() == [0 if p < ROWS else 2 for p in positions]


def test_only_row_groups_with_a_wanted_row_are_read(
    reader: TableReader, monkeypatch: pytest.MonkeyPatch
):
    read: list[tuple] = []
    whole = TableReader.batches

    def noted(self: TableReader, table, part, row_group, columns):
        read.append((part, row_group))
        return whole(self, table, part, row_group, columns)

    monkeypatch.setattr(TableReader, "batches", noted)
    reader.rows(0, [ROWS + 200, 3, 169], ["n"])
    assert read == [(0, 0), (2, 1)]


def test_a_row_or_column_that_is_not_there_is_an_error(reader: TableReader):
    with pytest.raises(IndexError, match="has 1500 rows"):
        reader.rows(0, [1500], ["n"])
    with pytest.raises(KeyError, match="nowhere"):
        next(reader.batches(0, 0, None, ["nowhere"]))


def test_columns_that_no_file_holds_still_have_rows(reader: TableReader):
    batches = [batch for _, batch in reader.batches(0, 0, None, ["k"])]
    assert sum(map(len, batches)) == ROWS
    assert reader.bytes_of(0, 0, None, ["k"]) == 0


def test_bytes_of_row_groups_add_up_to_what_the_footer_says(reader: TableReader):
    (table,) = reader.tables
    part = table.parts[0]
    whole = reader.bytes_of(0, 0, None, ["n", "s.b"])
    assert whole == part.column_bytes["n"] + part.column_bytes["s.b"] > 0
    groups = range(len(part.row_groups))
    assert sum(reader.bytes_of(0, 0, g, ["n", "s.b"]) for g in groups) == whole


def invalid_text(kind: pa.DataType) -> pa.Array:
    raw = pa.array([b"ok", b"caf\xe9", None], pa.binary())
    offsets = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), offsets)
    return offsets.dictionary_encode() if pa.types.is_dictionary(kind) else offsets


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.list_(pa.string()), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_that_is_no_utf8_comes_as_bytes(tmp_path: Path, kind: pa.DataType):
    pq.write_table(pa.table({"x": invalid_text(kind)}), tmp_path / "t.parquet")
    reader = TableReader(discover(LakeSource(str(tmp_path))))
    column = reader.tables[0].columns[0]
    assert column.family is (Family.NESTED if pa.types.is_list(kind) else Family.TEXT)
    expected = [b"ok", b"caf\xe9", None]
    if pa.types.is_list(kind):
        expected = [[value] for value in expected]
    ((_, batch),) = reader.batches(0, 0, 0, ["x"])
    assert batch["x"].to_pylist() == expected
    assert reader.rows(0, [1], ["x"])["x"].to_pylist() == expected[1:2]


def test_rows_of_parts_with_and_without_invalid_text_are_one_table(tmp_path: Path):
    for part, array in enumerate([invalid_text(pa.string()), pa.array(["fine"])]):
        pq.write_table(pa.table({"x": array}), tmp_path / f"part-{part}.parquet")
    reader = TableReader(discover(LakeSource(str(tmp_path))))
    rows = reader.rows(0, [3, 1], ["x"])
    assert rows["x"].to_pylist() == [b"fine", b"caf\xe9"]


def test_every_type_is_delivered_as_it_was_written(tmp_path: Path):
    table = pa.table(
        {
            "view": pa.array(["a", None], pa.string_view()),
            "views": pa.array([["a"], None], pa.list_(pa.string_view())),
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "uuid": pa.array([b"1" * 16, None], pa.uuid()),
            "half": pa.array(np.array([1, 2], np.float16)),
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    reader = TableReader(discover(LakeSource(str(tmp_path))))
    names = [column.name for column in reader.tables[0].columns]
    rows = reader.rows(0, [0, 1], names)
    expected = table.set_column(3, "uuid", table["uuid"].combine_chunks().storage)
    assert rows.to_pydict() == expected.to_pydict()


def test_rows_that_cannot_be_read_name_table_and_reason(tmp_path: Path):
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"x": np.random.default_rng(0).bytes(9_000).hex()})
    frame.write_parquet(path, compression="zstd")
    reader = TableReader(discover(LakeSource(str(tmp_path))))
    stored = bytearray(path.read_bytes())
    stored[1_000:3_000] = bytes(2_000)
    path.write_bytes(stored)
    with pytest.raises(UnreadableTable, match=r"t\.parquet: its rows cannot") as raised:
        list(reader.batches(0, 0, None, ["x"]))
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.table, again.reason) == ("t.parquet", raised.value.reason)
    pq.write_table(pa.table({"x": ["a", "b"]}), path)
    with pytest.raises(UnreadableTable, match="changed since the scan"):
        list(reader.batches(0, 0, None, ["x"]))
    path.unlink()
    with pytest.raises(UnreadableTable):
        reader.rows(0, [0], ["x"])


@pytest.mark.parametrize("writer", ["pyarrow", "large", "polars", "duckdb"])
def test_texts_that_come_as_codes_are_the_same(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "t.parquet"
    texts = [None if i % 7 == 0 else f"text {i % 50} ü" for i in range(5_000)]
    each = [f"{i} other" for i in range(5_000)]
    table = pa.table({"a.b": texts, "each": each, "n": range(5_000)})
    if writer == "polars":
        pl.from_arrow(table).write_parquet(path)
    elif writer == "duckdb":
        duckdb.from_arrow(table).write_parquet(str(path))
    else:
        kind = pa.large_string() if writer == "large" else pa.string()
        schema = pa.schema([("a.b", kind), ("each", kind), ("n", pa.int64())])
        pq.write_table(table.cast(schema), path, row_group_size=1_500)
    reader = TableReader(discover(LakeSource(str(tmp_path))))
    names = ["n", "a.b", "each"]
    plain, coded = (
        [b for _, b in reader.batches(0, 0, None, names, coded=c)]
        for c in (False, True)
    )
    assert any(pa.types.is_dictionary(b["a.b"].type) for b in coded)
    for name, values in (("a.b", texts), ("each", each), ("n", [*range(5_000)])):
        for batches in (plain, coded):
            assert [v for b in batches for v in b[name].to_pylist()] == values


def test_bytes_that_no_row_has_do_not_make_a_text_bytes() -> None:
    values = pa.array([b"a", b"\xff", b"b"]).view(pa.string())
    sound = pa.DictionaryArray.from_arrays(pa.array([0, 2, None, 0]), values)
    broken = pa.DictionaryArray.from_arrays(pa.array([0, 1]), values)
    assert decodable(sound).cast(pa.string()).to_pylist() == ["a", "b", None, "a"]
    assert decodable(broken).to_pylist() == [b"a", b"\xff"]


@pytest.mark.parametrize("part", [(0, 4), (1, 2), (2, 1), (3, 1), (4, 0)])
def test_only_the_rows_that_are_read_make_a_text_bytes(part: tuple[int, int]) -> None:
    stored = [b"\xff", b"a", None, "é".encode()]
    array = pa.array(stored, pa.binary()).view(pa.string()).slice(*part)
    values = stored[part[0] : part[0] + part[1]]
    read = decodable(array)
    assert pa.types.is_binary(read.type) == (b"\xff" in values)
    assert read.cast(pa.binary()).to_pylist() == values
