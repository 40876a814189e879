"""Which format a path names, and what is not a pool is named as what it is."""

from __future__ import annotations

import gzip
import io
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc
from winnow.core.errors import ConfigError, InputError
from winnow.formats.shard_discovery import find_pool, read_footers


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"x")


def _sqlite(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE t (a)")


def _numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    ("name", "write", "what"),
    [
        ("a.zip", _zip, "a ZIP archive"),
        ("pool", _zip, "a ZIP archive"),
        ("a.db", _sqlite, "an SQLite database"),
        ("a.npy", _numpy, "a NumPy array"),
        ("a.orc", lambda p: orc.write_table(pa.table({"a": [1]}), str(p)), "ORC"),
        ("a.gz", lambda p: p.write_bytes(gzip.compress(b"{}")), "a gzip file"),
        ("a.pkl", lambda p: p.write_bytes(b"\x80\x04."), "a pickle, which is never"),
        ("a", lambda p: p.write_bytes(b""), "an empty file"),
        ("a", lambda p: p.write_bytes(b'{"uid": 1}'), "begins as JSON.*jsonl"),
        ("a", lambda p: p.write_bytes(b"\x01\x02"), "of no known kind"),
    ],
)
def test_a_file_that_is_no_shard_is_named_as_what_it_is(tmp_path, name, write, what):
    write(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is .*{what}.*Parquet"):
        find_pool(str(tmp_path / name))


def test_a_folder_without_a_shard_says_what_it_holds(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.doc").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no shard at .* holds 3 \.doc"):
        find_pool(str(tmp_path))


def test_a_file_without_an_ending_is_known_by_how_it_begins(tmp_path: Path):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"uid": ["a"]}), buffer)
    (tmp_path / "pool").write_bytes(buffer.getvalue())
    found = find_pool(str(tmp_path / "pool"))
    (shard,), _, _ = read_footers(found.paths, kind=found.kind)
    assert (found.kind.name, shard.rows) == ("parquet", 1)


def test_a_named_format_overrides_what_the_path_says(tmp_path: Path):
    file = tmp_path / "a.parquet"
    file.write_text('{"uid": "a"}\n{"uid": "b"}\n')
    pq.write_table(pa.table({"uid": ["a"]}), tmp_path / "b.parquet")
    found = find_pool(str(file), "jsonl")
    (shard,), schema, _ = read_footers(found.paths, kind=found.kind)
    assert (found.kind.name, shard.rows) == ("jsonl", 2)
    assert "uid" in schema.names


def test_of_a_folder_of_two_formats_the_named_one_is_taken(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"uid": "a"}\n')
    pq.write_table(pa.table({"uid": ["a"]}), tmp_path / "b.parquet")
    for name in ("jsonl", "parquet"):
        (path,) = find_pool(str(tmp_path), name).paths
        assert path.endswith(name)


def test_an_unknown_format_is_named_with_the_nearest_one(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"input\.format: unknown 'json'.*jsonl"):
        find_pool(str(tmp_path), "json")
