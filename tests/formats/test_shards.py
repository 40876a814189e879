"""Shards are found, checked by their footers, and refused with file and column."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import InputError
from winnow.formats.parquet_shards import open_shard
from winnow.formats.pool_formats import PARQUET
from winnow.formats.shard_discovery import (
    common_root,
    find_shards,
    pool_folders,
    read_footers,
)


def write(path: Path, **columns: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns or {"uid": ["a"]}), path)
    return str(path)


def truncate(path: str, share: float = 0.5) -> str:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])
    return path


def test_folder_gives_its_parquet_files_sorted_without_hidden_ones(tmp_path: Path):
    wanted = [write(tmp_path / name) for name in ("b.parquet", "a.parquet")]
    wanted.append(write(tmp_path / "deep" / "er" / "c.parquet"))
    for hidden in (".tmp.parquet", "_meta.parquet", ".cache/x.parquet"):
        write(tmp_path / hidden)
    (tmp_path / "README.md").write_text("no shard")
    assert find_shards(str(tmp_path)) == sorted(wanted)


def test_a_hidden_folder_above_the_pool_hides_nothing(tmp_path: Path):
    file = write(tmp_path / ".cache" / "_data" / "a.parquet")
    assert find_shards(str(tmp_path / ".cache" / "_data")) == [file]


def test_glob_file_and_list_meet_without_repeats(tmp_path: Path):
    a, b = write(tmp_path / "x" / "a.parquet"), write(tmp_path / "x" / "b.parquet")
    other = write(tmp_path / "other.parquet")
    assert find_shards(str(tmp_path / "x" / "*.parquet")) == [a, b]
    assert find_shards(a) == [a]
    assert find_shards([b, str(tmp_path / "x"), other]) == sorted([a, b, other])


def test_glob_of_folders_gives_the_shards_in_them(tmp_path: Path):
    files = [write(tmp_path / f"part={n}" / "a.parquet") for n in range(3)]
    assert find_shards(str(tmp_path / "part=*")) == files


def test_a_name_with_brackets_that_exists_is_no_glob(tmp_path: Path):
    file = write(tmp_path / "set[1].parquet")
    assert find_shards(file) == [file]
    inside = write(tmp_path / "pool[2]" / "a.parquet")
    assert find_shards(str(tmp_path / "pool[2]")) == [inside]


def test_relative_and_home_paths_become_absolute(tmp_path: Path, monkeypatch):
    file = write(tmp_path / "pool" / "a.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_shards("pool") == find_shards("~/pool") == [file]


@pytest.mark.parametrize("item", ["nowhere", "*.parquet", "empty"])
def test_nothing_found_names_what_was_looked_for(tmp_path: Path, item: str):
    (tmp_path / "empty").mkdir()
    wanted = rf"no shard at .*{item.strip('*')}.*Parquet \(.*; JSON Lines \("
    with pytest.raises(InputError, match=wanted):
        find_shards(str(tmp_path / item))


def test_memory_url_is_found_opened_and_named_below_its_root():
    fs = fsspec.filesystem("memory")
    for name in ("a", "b"):
        with fs.open(f"/shards-test/{name}.parquet", "wb") as file:
            pq.write_table(pa.table({"uid": [name]}), file)
    try:
        paths = find_shards("memory://shards-test")
        shards, schema, bad = read_footers(paths)
        assert [shard.name for shard in shards] == ["a.parquet", "b.parquet"]
        assert (schema.names, bad) == (["uid"], [])
        with open_shard(shards[1].path) as file:
            assert file.read()["uid"].to_pylist() == ["b"]
    finally:
        fs.rm("/shards-test", recursive=True)


def test_common_root_keeps_the_slashes_of_a_scheme():
    paths = ["s3://bucket/pool/x/a.parquet", "s3://bucket/pool/y/b.parquet"]
    assert common_root(paths) == "s3://bucket/pool"
    assert common_root(["/a/b/c.parquet"]) == "/a/b"


def test_truncated_file_is_an_error_that_names_file_and_remedy(tmp_path: Path):
    good = write(tmp_path / "a.parquet")
    bad = truncate(write(tmp_path / "b.parquet"))
    with pytest.raises(InputError, match=r"b\.parquet.*truncated.*on_bad_shard=skip"):
        read_footers([good, bad])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all" * 9])
def test_files_that_are_no_parquet_can_be_skipped_and_are_reported(
    tmp_path: Path, content: bytes
):
    (tmp_path / "a.parquet").write_bytes(content)
    good = write(tmp_path / "b.parquet", uid=["x", "y"])
    footers = read_footers([str(tmp_path / "a.parquet"), good], skip_bad=True)
    shards, schema, ((path, reason),) = footers
    assert [(s.name, s.rows) for s in shards] == [("b.parquet", 2)]
    assert schema.names == ["uid"]
    assert path.endswith("a.parquet")
    assert "not a whole Parquet file" in reason


def test_nothing_but_bad_files_is_an_error_even_when_skipping(tmp_path: Path):
    bad = truncate(write(tmp_path / "a.parquet"))
    with pytest.raises(InputError, match="none of the 1 files"):
        read_footers([bad], skip_bad=True)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"uid": ["a"]}, "lacks text"),
        ({"uid": ["a"], "text": ["b"], "more": [1]}, "extra more"),
        ({"uid": ["a"], "text": [1]}, r"text \(int64, not string\)"),
    ],
)
def test_another_shape_of_columns_names_file_and_column(
    tmp_path: Path, columns: dict, named: str
):
    first = write(tmp_path / "a.parquet", uid=["a"], text=["b"])
    other = write(tmp_path / "b.parquet", **columns)
    with pytest.raises(InputError, match=rf"b\.parquet: .*{named}.*a\.parquet"):
        read_footers([first, other])


def test_a_column_name_that_stands_twice_is_refused(tmp_path: Path):
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["uid", "uid"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet.*'uid'.*twice"):
        read_footers([str(tmp_path / "a.parquet")])


def test_fingerprint_follows_the_content_not_the_place(tmp_path: Path):
    a = write(tmp_path / "one" / "a.parquet", uid=["a"])
    (before,), _, _ = read_footers([a])
    moved = Path(a).rename(tmp_path / "moved.parquet")
    (after,), _, _ = read_footers([str(moved)])
    assert before.fingerprint == after.fingerprint
    write(tmp_path / "one" / "a.parquet", uid=["b"])
    (changed,), _, _ = read_footers([a])
    assert changed.fingerprint != before.fingerprint


def test_a_column_is_nullable_if_any_shard_allows_nulls(tmp_path: Path):
    strict = pa.schema([pa.field("uid", pa.string(), nullable=False)])
    for name, schema, values in (
        ("a", strict, ["x"]),
        ("b", pa.schema([("uid", pa.string())]), [None]),
    ):
        table = pa.table({"uid": values}, schema=schema)
        pq.write_table(table, tmp_path / f"{name}.parquet")
    _, schema, _ = read_footers(find_shards(str(tmp_path)))
    assert schema.field("uid").nullable


def test_linked_folders_belong_to_the_pool_and_none_is_read_twice(tmp_path: Path):
    pool, elsewhere = tmp_path / "pool", tmp_path / "elsewhere"
    for folder in (pool / "a", elsewhere / "deep"):
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"text": ["x"]}), folder / "0.parquet")
    (pool / "linked").symlink_to(elsewhere)
    (pool / "again").symlink_to(pool / "a")
    (pool / "a" / "round").symlink_to(pool)
    paths = [Path(path).relative_to(pool) for path in find_shards(str(pool))]
    assert paths == [Path("a/0.parquet"), Path("linked/deep/0.parquet")]


def test_other_endings_of_parquet_files_are_found(tmp_path: Path):
    for name in ("a.pq", "b.parq", "c.PARQUET", "d.parquet"):
        pq.write_table(pa.table({"text": ["x"]}), tmp_path / name)
    paths = find_shards(str(tmp_path))
    assert [Path(path).name for path in paths] == [
        "a.pq",
        "b.parq",
        "c.PARQUET",
        "d.parquet",
    ]


def test_names_that_look_like_chains_of_urls_are_files(tmp_path: Path):
    folder = tmp_path / "a::file:"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["x"]}), folder / "memory::x.parquet")
    shards, _, _ = read_footers(find_shards(str(tmp_path)))
    assert [(shard.name, shard.rows) for shard in shards] == [("memory::x.parquet", 1)]


@pytest.mark.parametrize(
    "log", ["t/_delta_log/0.json", "t/.hoodie/x", "t/metadata/v1.metadata.json"]
)
def test_a_lake_table_is_no_folder_of_files(tmp_path: Path, log: str):
    (tmp_path / log).parent.mkdir(parents=True)
    (tmp_path / log).write_text("{}")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "t" / "0.parquet")
    with pytest.raises(InputError, match="give deleted rows back"):
        find_shards(str(tmp_path))


def test_images_may_lie_where_the_path_of_the_pool_says(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"text": ["x"]}), tmp_path / name / "0.parquet")
    both = [f"{tmp_path}/a", f"{tmp_path}/b/0.parquet"]
    assert pool_folders(both) == (f"{tmp_path}/a", f"{tmp_path}/b")
    assert pool_folders(f"{tmp_path}/*/0.parquet") == (str(tmp_path),)
    assert pool_folders(f"file://{tmp_path}/a/") == (f"{tmp_path}/a",)


def test_large_values_are_read_and_written_a_page_at_a_time(tmp_path: Path):
    images = [bytes([number]) * 3_000_000 for number in range(12)]
    table = pa.table({"uid": [f"{n}" for n in range(12)], "image": images})
    sink = PARQUET.sink(tmp_path / "p.parquet", table.schema)
    sink.write(table)
    sink.close()
    path = str(tmp_path / "p.parquet")
    reader = PARQUET.bounded(4 * 2**20)
    before = pa.total_allocated_bytes()
    held = 0
    for start, part in reader.read_rows(path, np.arange(12), ["image"]):
        assert part["image"].to_pylist() == images[start : start + len(part)]
        held = max(held, pa.total_allocated_bytes() - before)
        assert len(part) == 1
    # The page, what it is unpacked to, and the row: not the 36 MB of the row group.
    assert held < 16 * 2**20


def test_a_column_chunk_whose_name_is_no_utf_8_loses_no_row(tmp_path: Path):
    shard = Path(write(tmp_path / "a.parquet", uid=list("abc"), text=["x", "y", "z"]))
    data = shard.read_bytes()
    end = data.rindex(b"\x04text", 0, data.rindex(b"ARROW:schema"))
    shard.write_bytes(data[: end + 1] + b"\xa9" + data[end + 2 :])
    with pytest.raises(UnicodeDecodeError):
        str(pq.read_metadata(shard).row_group(0).column(1).path_in_schema)
    rows = np.arange(3)
    for columns in (["uid"], ["uid", "text"]):
        parts = PARQUET.read_rows(str(shard), rows, columns)
        came = [getattr(part, "rows", None) or len(part) for _, part in parts]
        assert sum(came) == 3
    assert PARQUET.held_at_once(str(shard), ["text"])[1] in ("", "text")
