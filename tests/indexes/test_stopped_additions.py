"""`index add`, killed or on a full disk: nothing is in, or all; again, it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.flows.near_index import add, build, describe
from winnow.indexes.near_index import NearIndex


class Killed(BaseException):
    """Ends a command where it stands."""


def pool(folder: Path, first: int, rows: int) -> str:
    folder.mkdir()
    names = [f"u{number}" for number in range(first, first + rows)]
    texts = [" ".join(f"{name}w{k}" for k in range(12)) for name in names]
    pq.write_table(pa.table({"uid": names, "text": texts}), folder / "a.parquet")
    return str(folder)


def files(index: Path) -> dict[str, bytes]:
    names = [p for p in sorted(index.rglob("*")) if p.is_file()]
    times = (".lock", ".checked.json", "winnow.log")
    return {
        str(p.relative_to(index)): p.read_bytes() for p in names if p.name not in times
    }


@pytest.mark.parametrize("step", ["_change", "_merge", "end_addition", "_commit"])
@pytest.mark.parametrize("late", [False, True])
def test_an_addition_that_was_killed_is_in_or_not(
    step: str, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = pool(tmp_path / "old", 0, 20), pool(tmp_path / "new", 15, 20)
    build(old, tmp_path / "i")
    before = describe(tmp_path / "i")
    shutil.copytree(tmp_path / "i", tmp_path / "whole")
    add(tmp_path / "whole", [new])
    original = getattr(NearIndex, step)

    def killed(self: NearIndex, *given: object, **named: object) -> None:
        if late:
            original(self, *given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(NearIndex, step, killed)
        with pytest.raises(Killed):
            add(tmp_path / "i", [new])
    if step != "_commit" or not late:
        assert describe(tmp_path / "i") == before
    add(tmp_path / "i", [new])
    assert files(tmp_path / "i") == files(tmp_path / "whole")


def test_an_addition_is_noted_once_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = pool(tmp_path / "old", 0, 9), pool(tmp_path / "new", 9, 9)
    build(old, tmp_path / "i")

    def killed(self: NearIndex) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(NearIndex, "end_addition", killed)
        with pytest.raises(Killed):
            add(tmp_path / "i", [new])
    add(tmp_path / "i", [pool(tmp_path / "third", 18, 4)])
    add(tmp_path / "i", [new])
    add(tmp_path / "i", [new])
    rows = [addition["rows"] for addition in describe(tmp_path / "i")["additions"]]
    # What brought nothing new the second time is no addition.
    assert rows == [9, 4, 9]


@pytest.mark.parametrize("name", ["index.json", "index.copy.json"])
def test_a_writer_killed_between_state_and_copy_is_mended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = pool(tmp_path / "old", 0, 20), pool(tmp_path / "new", 15, 20)
    build(old, tmp_path / "i")
    shutil.copytree(tmp_path / "i", tmp_path / "whole")
    add(tmp_path / "whole", [new])
    wanted = files(tmp_path / "whole")
    original = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise Killed
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            add(tmp_path / "i", [new])
    add(tmp_path / "i", [new])
    assert files(tmp_path / "i") == wanted


def fails(files_written: int, patch: pytest.MonkeyPatch) -> None:
    """Let so many files of a segment or a state be written; then the disk is full."""
    written = iter(range(99))
    original = Path.write_text, np.save

    def full(error: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            if next(written) >= files_written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return error(*given, **named)

        return call

    patch.setattr(Path, "write_text", full(original[0]))
    patch.setattr(np, "save", full(original[1]))


@pytest.mark.parametrize("room", range(12))
def test_a_disk_that_is_full_leaves_all_in_or_nothing(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = pool(tmp_path / "old", 0, 20), pool(tmp_path / "new", 15, 20)
    build(old, tmp_path / "i")
    before, standing = describe(tmp_path / "i"), files(tmp_path / "i")
    shutil.copytree(tmp_path / "i", tmp_path / "whole")
    add(tmp_path / "whole", [new])
    with monkeypatch.context() as patch:
        fails(room, patch)
        try:
            add(tmp_path / "i", [new])
        except OSError:
            assert describe(tmp_path / "i") == before
            assert files(tmp_path / "i") == standing
    add(tmp_path / "i", [new])
    assert files(tmp_path / "i") == files(tmp_path / "whole")
