"""`index add`, killed and given again: the index is that of an undisturbed one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.flows.near_index import add, build, describe
from winnow.indexes import state
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


@pytest.mark.parametrize("step", ["_commit", "_merge", "end_addition"])
def test_an_addition_that_was_killed_is_gone_on_with(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = pool(tmp_path / "old", 0, 20), pool(tmp_path / "new", 15, 20)
    build(old, tmp_path / "i")
    shutil.copytree(tmp_path / "i", tmp_path / "whole")
    add(tmp_path / "whole", [new])
    original = getattr(NearIndex, step)

    def killed(self: NearIndex, *given: object, **named: object) -> None:
        if step == "_commit":
            original(self, *given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(NearIndex, step, killed)
        with pytest.raises(Killed):
            add(tmp_path / "i", [new])
    assert files(tmp_path / "i") != files(tmp_path / "whole")
    add(tmp_path / "i", [new])
    assert files(tmp_path / "i") == files(tmp_path / "whole")


def test_another_addition_does_not_go_on_with_one_that_was_killed(
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
    rows = [addition["rows"] for addition in describe(tmp_path / "i")["additions"]]
    # What brought nothing new the second time is no addition.
    assert rows == [9, 9, 4]


def test_an_addition_that_had_ended_is_not_noted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old, new = pool(tmp_path / "old", 0, 20), pool(tmp_path / "new", 15, 20)
    build(old, tmp_path / "i")
    shutil.copytree(tmp_path / "i", tmp_path / "whole")
    add(tmp_path / "whole", [new])
    wanted = files(tmp_path / "whole")
    add(tmp_path / "whole", [new])
    assert files(tmp_path / "whole") == wanted
    original = state.write_text

    def killed(file: Path, text: str) -> None:
        if file.name == state.COPY and text.encode() == wanted[state.FILE]:
            raise Killed
        original(file, text)

    with monkeypatch.context() as patch:
        patch.setattr(state, "write_text", killed)
        with pytest.raises(Killed):
            add(tmp_path / "i", [new])
    add(tmp_path / "i", [new])
    assert files(tmp_path / "i") == wanted
