"""A damaged file of a run is named, with the way to have it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from winnow.config.lock_file import read_lock
from winnow.core.run_folder import write_text
from winnow.core.saved_files import DamagedError, read_manifest

DAMAGED = [
    b"\xff\xfe",
    b"",
    b"[",
    b"[1]",
    b"3",
    b"[" * 100_000,
    b'{"input": {"shards": [1]}}',
    b'{"input": {"root": 3, "shards": []}}',
]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_manifest_is_named(tmp_path: Path, data: bytes):
    file = tmp_path / "manifest.json"
    file.write_bytes(data)
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged") as refused:
        read_manifest(file)
    assert refused.value.exit_code == 3


def test_a_manifest_that_is_whole_is_read(tmp_path: Path):
    file = tmp_path / "manifest.json"
    whole = {"input": {"root": "/a", "shards": [{"name": "b"}]}}
    file.write_text(json.dumps(whole))
    assert read_manifest(file) == whole
    file.write_text(json.dumps({"lake": "x"}))
    assert read_manifest(file) == {"lake": "x"}


@pytest.mark.parametrize("data", [b"\xff", b"[", b"- a", b"", b"a: &a [*a]"])
def test_a_damaged_lock_file_is_named(tmp_path: Path, data: bytes):
    (tmp_path / "config.lock.yaml").write_bytes(data)
    with pytest.raises(DamagedError, match=r"config\.lock\.yaml is damaged"):
        read_lock(tmp_path)


def test_a_file_with_a_broken_byte_is_written_again(tmp_path: Path):
    file = tmp_path / "x"
    file.write_bytes(b"\xff\xfe")
    write_text(file, "new")
    assert file.read_text() == "new"
