"""An output that cannot be made is told before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from winnow.core.errors import ConfigError
from winnow.core.outputs import require_file, require_folder


def test_what_can_be_written_is_made_ready_and_left_empty(tmp_path: Path):
    require_folder(tmp_path / "a" / "b", "--out")
    require_file(tmp_path / "a" / "b" / "x.csv", "--out")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("name", ["file/x", "a" * 300, "x\0y"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out"):
        require_folder(tmp_path / name, "--out")


@pytest.mark.parametrize("name", [".", "nowhere/x.csv", "file/x.csv"])
def test_a_file_that_cannot_be_made_is_named(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out"):
        require_file(tmp_path / name, "--out")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no plain file"):
        require_file(tmp_path / "pipe", "--out")
