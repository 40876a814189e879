"""The catalogue: which files are one table, whatever lies beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import deltalake
import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import InputError
from winnow.lake.files.catalogue import LakeSource, discover, fingerprint, survey
from winnow.lake.files.files import Entry, Files
from winnow.lake.files.reader import TableReader
from winnow.lake.files.saved_tables import SavedTables, as_table
from winnow.lake.kernels.tables import ColumnStatistics, Table

ROWS = pa.table({"id": [1, 2], "name": ["a", None]})


def write(path: Path, table: pa.Table = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def named(folder: Path | str, **options) -> dict[str, Table]:
    return {table.name: table for table in discover(LakeSource(str(folder), **options))}


def contents(lake: LakeSource) -> dict[str, dict]:
    """Return {table: its columns}, as the reader delivers them."""
    tables = discover(lake)
    reader = TableReader(tables, lake.storage_options or {})
    return {
        table.name: reader.rows(
            number, range(table.rows), [column.name for column in table.columns]
        ).to_pydict()
        for number, table in enumerate(tables)
        if table.reason is None
    }


@pytest.mark.parametrize(
    ("files", "tables"),
    [
        # Unrelated tables in one folder, however alike their names are.
        (["d/beaver1", "d/beaver2"], ["d/beaver1", "d/beaver2"]),
        (["d/2019", "d/2020"], ["d/2019", "d/2020"]),
        (["part/a", "data/0x"], ["data/0x", "part/a"]),
        # Parts by name.
        (["d/part-0", "d/part-1"], ["d"]),
        (["d/part-00000-c0ffee-c000.snappy"], ["d"]),
        (["d/part-r-00001", "d/part-m-00000"], ["d"]),
        (["d/0", "d/1", "d/2"], ["d"]),
        (["d/data_0", "d/data_1"], ["d"]),
        (["d/train-00000-of-00002", "d/train-00001-of-00002"], ["d"]),
        # Numbers with a gap, two sets of shards, a part beside a table: no.
        (["d/0", "d/2"], ["d/0", "d/2"]),
        (["d/a-0-of-1", "d/b-0-of-1"], ["d/a-0-of-1", "d/b-0-of-1"]),
        (["d/part-0", "d/other"], ["d/other", "d/part-0"]),
        (["d/part-0", "d/e/x"], ["d/e/x", "d/part-0"]),
        # A job's folder; partitions at any depth; two keys side by side.
        (["d/_SUCCESS", "d/x", "d/y"], ["d"]),
        (["d/k=1/x", "d/k=2/l=3/y"], ["d"]),
        (["d/k=1/x", "d/l=2/y"], ["d/k=1/x", "d/l=2/y"]),
        (["d/k=1/x", "d/loose"], ["d/k=1/x", "d/loose"]),
        # No data.
        (["d/_hidden", "d/.hidden", "d/.tmp/x", "d/x"], ["d/x"]),
        # The lake itself is a table.
        (["k=1/x", "k=2/x"], ["lake"]),
    ],
)
def test_a_folder_is_one_table_only_if_its_files_say_so(
    tmp_path: Path, files: list[str], tables: list[str]
):
    for name in files:
        marker = name.endswith("_SUCCESS")
        path = tmp_path / "lake" / (name if marker else f"{name}.parquet")
        if marker:
            path.parent.mkdir(parents=True)
            path.touch()
        else:
            write(path)
    tables_by_name = named(tmp_path / "lake")
    assert [name.removesuffix(".parquet") for name in tables_by_name] == tables
    assert all(table.reason is None for table in tables_by_name.values())
    for name, table in tables_by_name.items():
        folder = table.format == "parquet_folder"
        assert Path(table.location) == tmp_path / (
            "lake" if name == "lake" else f"lake/{name}"
        )
        assert Path(table.location).is_dir() == folder
        assert table.rows == 2 * len(table.parts)


def test_parts_that_hold_other_columns_are_tables_of_their_own(tmp_path: Path):
    write(tmp_path / "d" / "0.parquet")
    write(tmp_path / "d" / "1.parquet", pa.table({"other": [1]}))
    assert list(named(tmp_path)) == ["d/0.parquet", "d/1.parquet"]
    (tmp_path / "d" / "1.parquet").write_bytes(b"no parquet")
    tables_by_name = named(tmp_path)
    assert [bool(table.reason) for table in tables_by_name.values()] == [False, True]


def test_hive_partitions_become_typed_columns(tmp_path: Path):
    table = pa.table(
        {
            "x": [1, 2, 3],
            "year": [2019, 2020, 2020],
            "day": ["2020-01-01", None, "2020-01-02"],
            "tag": ["01", "a b/ü=", "02"],
        }
    )
    keys = pa.schema([(name, table[name].type) for name in ("year", "day", "tag")])
    ds.write_dataset(
        table,
        tmp_path / "t",
        format="parquet",
        partitioning=ds.partitioning(keys, flavor="hive"),
    )
    lake = LakeSource(str(tmp_path))
    ((surveyed, statistics),) = survey(lake)
    assert [(c.name, str(c.type)) for c in surveyed.columns] == [
        *(("x", "int64"), ("year", "int64"), ("day", "date32[day]"), ("tag", "string")),
    ]
    rows = contents(lake)["t"]
    back = pl.DataFrame(rows).sort("x")
    assert back["year"].to_list() == [2019, 2020, 2020]
    assert back["day"].cast(pl.String).to_list() == table["day"].to_pylist()
    assert back["tag"].to_list() == table["tag"].to_pylist()
    year = ColumnStatistics(3, 0, 2019, 2020, 2019, 2020, has_value=True)
    assert statistics["year"] == year
    assert statistics["day"].nulls == 1
    assert statistics["tag"].low_certain == b"01"


def test_parts_may_differ_in_columns_and_width_but_not_in_kind(tmp_path: Path):
    write(tmp_path / "t/k=1/a.parquet", pa.table({"x": pa.array([1], pa.int8())}))
    wide = pa.table({"y": ["new"], "x": pa.array([2.5])})
    write(tmp_path / "t/k=2/b.parquet", wide)
    ((surveyed, statistics),) = survey(LakeSource(str(tmp_path)))
    assert [(c.name, str(c.type)) for c in surveyed.columns] == [
        *(("x", "double"), ("k", "int64"), ("y", "string")),
    ]
    expected = {"x": [1, 2.5], "k": [1, 2], "y": [None, "new"]}
    assert contents(LakeSource(str(tmp_path))) == {"t": expected}
    assert statistics["y"] == ColumnStatistics(
        2, 1, b"new", b"new", b"new", b"new", has_value=True
    )
    write(tmp_path / "t/k=3/c.parquet", pa.table({"x": ["text"]}))
    reason = named(tmp_path)["t"].reason
    assert reason is not None
    assert "k=3/c.parquet holds 'x' as string" in reason


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """Two versions of a partitioned table, a row deleted and its files left over."""
    path = tmp_path / "lake" / "sales"
    table = pa.table({"id": [1, 2, 3, 4], "kind": ["a", "b c%", None, "a"]})
    deltalake.write_deltalake(path, table, partition_by=["kind"])
    more = pa.table({"id": [5], "kind": ["a"]})
    deltalake.write_deltalake(path, more, mode="append")
    deltalake.DeltaTable(path).delete("id = 4")
    return path


def test_a_delta_table_is_its_active_files(delta: Path):
    lake = LakeSource(str(delta.parent))
    ((surveyed, statistics),) = survey(lake)
    assert (surveyed.name, surveyed.format, surveyed.reason) == ("sales", "delta", None)
    assert len(surveyed.parts) < len(list(delta.rglob("*.parquet")))
    rows = contents(lake)["sales"]
    pairs = sorted(zip(rows["id"], rows["kind"], strict=True))
    assert pairs == [(1, "a"), (2, "b c%"), (3, None), (5, "a")]
    assert statistics["id"].high == 5
    assert statistics["kind"].nulls == 1


def test_a_delta_table_that_needs_more_says_what(delta: Path):
    log = delta / "_delta_log" / "00000000000000000003.json"
    active = named(delta.parent)["sales"].parts[0].path
    metadata = (delta / "_delta_log" / "00000000000000000000.json").read_text()
    line = next(text for text in metadata.splitlines() if text.startswith('{"metaData'))
    mapped = line.replace(
        '"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}'
    )
    assert mapped != line
    log.write_text(mapped + "\n")
    assert "mapped" in (named(delta.parent)["sales"].reason or "")
    log.unlink()
    os.unlink(active)
    reason = named(delta.parent)["sales"].reason or ""
    assert "is gone" in reason
    (delta / "_delta_log" / "00000000000000000000.json").write_text("{")
    assert named(delta.parent)["sales"].reason


def test_what_cannot_be_read_stands_there_with_its_reason(tmp_path: Path):
    whole = write(tmp_path / "good.parquet").read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "link.parquet").symlink_to("good.parquet")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "readme.md").write_text("no table")
    write(tmp_path / "ice" / "data" / "0.parquet")
    (tmp_path / "ice" / "metadata").mkdir()
    (tmp_path / "ice" / "metadata" / "v1.metadata.json").write_text("{}")
    tables_by_name = named(tmp_path)
    reasons = {name: table.reason for name, table in tables_by_name.items()}
    assert sorted(reasons) == sorted(
        ["empty.parquet", "good.parquet", "ice", "link.parquet", "loop", "torn.parquet"]
    )
    assert reasons.pop("good.parquet") is None
    assert all(reasons.values())
    assert "link to good.parquet" in (reasons["link.parquet"] or "")
    assert "Iceberg" in (reasons["ice"] or "")
    assert tables_by_name["torn.parquet"].bytes == len(whole) // 2


def test_a_lake_that_is_not_there_is_refused_and_an_empty_one_is_empty(tmp_path: Path):
    with pytest.raises(InputError, match="no such file or folder"):
        discover(LakeSource(str(tmp_path / "nowhere")))
    assert discover(LakeSource(str(tmp_path))) == []


def test_globs_choose_tables(tmp_path: Path):
    for name in ("raw/a", "raw/b", "clean/a"):
        write(tmp_path / f"{name}.parquet")
    assert list(named(tmp_path, exclude=["raw/**"])) == ["clean/a.parquet"]
    assert list(named(tmp_path, include=["*/a.*"])) == [
        *("clean/a.parquet", "raw/a.parquet"),
    ]
    assert list(named(tmp_path, include=["*"])) == []


def test_only_what_changed_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "a.parquet")
    write(tmp_path / "d" / "0.parquet")
    write(tmp_path / "d" / "1.parquet", pa.table({"other": [1]}))
    write(tmp_path / "h" / "k=1" / "x.parquet")
    (tmp_path / "t.csv").write_text("x\n1\n")
    lake = LakeSource(str(tmp_path))
    first = survey(lake)
    assert all(fingerprint(lake, table) == table.fingerprint for table, _ in first)
    opened: list[str] = []
    for module in ("table_files.read_footer", "text_tables.inferred"):
        target = f"winnow.lake.files.{module}"
        original = pytest.importorskip(target.rpartition(".")[0])
        function = getattr(original, target.rpartition(".")[2])

        def noted(files, path, *rest, _function=function):
            opened.append(Path(path).name)
            return _function(files, path, *rest)

        monkeypatch.setattr(target, noted)
    known = SavedTables([as_table(first)])
    assert survey(lake, known) == first
    assert opened == []
    write(tmp_path / "h" / "k=2" / "y.parquet")
    write(tmp_path / "a.parquet", pa.table({"id": [9]}))
    again = {table.name: table for table, _ in survey(lake, known)}
    assert sorted(opened) == ["a.parquet", "x.parquet", "y.parquet"]
    assert again["h"].rows == 4
    assert list(again) == list(known)
    changed = [
        n for n, t in known.items() if fingerprint(lake, t[0]) != t[0].fingerprint
    ]
    assert changed == ["a.parquet", "h"]


@pytest.fixture(scope="module")
def lake_of_all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds") / "lake"
    keyed = pa.table({"id": np.arange(50_000), "k": np.arange(50_000) % 2})
    write(root / "a" / "one.parquet", keyed)
    write(root / "h" / "k=1" / "x.parquet")
    write(root / "h" / "k=2" / "y.parquet")
    (root / "t.csv").write_text("x,y\n1,a\n2,\n")
    (root / "j.jsonl").write_text('{"a": {"b": 1}}\n')
    (root / "torn.parquet").write_bytes(b"PAR1")
    table = pa.table({"id": [1, 2], "kind": ["a", "b c"]})
    deltalake.write_deltalake(root / "sales", table, partition_by=["kind"])
    return root


def seen(surveyed: tuple[Table, Mapping]) -> tuple:
    table, _ = surveyed
    return table.name, table.format, table.columns, table.rows, table.reason is None


def same_as_local(url: str, options: dict, local: Path) -> None:
    """A lake behind a URL has the tables, statistics and rows of the local one."""
    remote, here = LakeSource(url, storage_options=options), LakeSource(str(local))
    tables_by_name, expected = survey(remote), survey(here)
    assert [
        (t.name, t.format, t.columns, t.rows, bool(t.reason)) for t, _ in tables_by_name
    ] == [(t.name, t.format, t.columns, t.rows, bool(t.reason)) for t, _ in expected]
    assert [s for _, s in tables_by_name] == [s for _, s in expected]
    assert contents(remote) == contents(here)
    for table, _ in tables_by_name:
        assert table.location == f"{url}/{table.name}"
        assert fingerprint(remote, table) == table.fingerprint
        assert table.reason or table.modified > 0
    known = SavedTables([as_table(tables_by_name)])
    assert survey(remote, known) == tables_by_name


def test_a_lake_in_memory_is_the_local_one(lake_of_all_kinds: Path):
    fs = fsspec.filesystem("memory")
    fs.put(str(lake_of_all_kinds), "/kinds", recursive=True)
    try:
        same_as_local("memory:///kinds", {}, lake_of_all_kinds)
    finally:
        fs.rm("/kinds", recursive=True)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict]:
    """Start a server that speaks S3; return what fsspec needs to reach it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    pytest.importorskip("s3fs")
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "key": "key",
        "secret": "secret",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}"},
        "skip_instance_cache": True,
    }
    server.stop()


@pytest.mark.slow
def test_a_lake_behind_s3_is_the_local_one(lake_of_all_kinds: Path, s3: dict):
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("bucket")
    fs.put(str(lake_of_all_kinds), "bucket/lake", recursive=True)
    same_as_local("s3://bucket/lake", s3, lake_of_all_kinds)


def test_a_single_file_is_a_lake_of_one(tmp_path: Path):
    path = write(tmp_path / "a.parquet")
    ((name, table),) = named(path).items()
    assert (name, table.location) == ("a.parquet", str(path))
    shutil.copy(path, tmp_path / "b.parquet")
    assert list(named(path)) == ["a.parquet"]


def test_more_tables_and_parts_than_are_read_ahead_come_whole_and_in_order(
    tmp_path: Path,
):
    count = 40
    for n in range(count):
        write(tmp_path / f"alone/t{n}.parquet", pa.table({f"c{n}": range(n)}))
        write(tmp_path / f"parts/part-{n:03}.parquet", pa.table({"id": [n]}))
    (tmp_path / "alone/t7.parquet").write_bytes(b"")
    (tmp_path / "text.csv").write_text("id\n1\n")
    tables_by_name = named(tmp_path)
    alone = {f"alone/t{n}.parquet": n for n in range(count)}
    assert list(tables_by_name) == sorted([*alone, "parts", "text.csv"])
    broken = [name for name, table in tables_by_name.items() if table.reason]
    assert broken == ["alone/t7.parquet"]
    for name, n in alone.items():
        if name not in broken:
            assert (
                tables_by_name[name].rows,
                tables_by_name[name].columns[0].name,
            ) == (n, f"c{n}")
    assert contents(LakeSource(str(tmp_path)))["parts"] == {"id": list(range(count))}


def test_a_file_that_went_or_stands_elsewhere_can_be_expected(tmp_path: Path):
    files = Files()
    for path in (tmp_path / "gone", "memory://gone", tmp_path / "link"):
        files.expect(Entry("gone", str(path), bytes=10))
    files.expect(Entry("link", str(tmp_path), reason="a link"))
