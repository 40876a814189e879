"""A damaged file of a run is named, with the way to have it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from winnow.config.lock_file import lock_text, read_lock
from winnow.config.recipes import load
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


@pytest.fixture(scope="module")
def lock() -> str:
    return lock_text(load("text_dedup", ["input.path=/pool"], "run"))


def test_a_lock_file_cut_anywhere_is_named(tmp_path: Path, lock: str):
    file = tmp_path / "config.lock.yaml"
    file.write_text(lock)
    whole = read_lock(tmp_path)
    # In the checksum's line everywhere, in the recipe now and then.
    for end in (*range(30), *range(30, len(lock), 97)):
        file.write_text(lock[:end])
        with pytest.raises(DamagedError, match=r"config\.lock\.yaml is damaged"):
            read_lock(tmp_path)
    # What version 0.1.0 wrote has no checksum.
    file.write_text(lock.partition("\n")[2])
    assert read_lock(tmp_path) == whole


@pytest.mark.parametrize(
    "section", ["input:", "input: 3", "input: {path: x, columns:}"]
)
def test_a_lock_file_without_checksum_that_is_no_recipe_is_named(
    tmp_path: Path, lock: str, section: str
):
    steps = "steps: [exact, apply]"
    (tmp_path / "config.lock.yaml").write_text(f"{section}\n{steps}\n")
    with pytest.raises(DamagedError, match=r"config\.lock\.yaml is damaged"):
        read_lock(tmp_path)


def test_a_file_with_a_broken_byte_is_written_again(tmp_path: Path):
    file = tmp_path / "x"
    file.write_bytes(b"\xff\xfe")
    write_text(file, "new")
    assert file.read_text() == "new"
