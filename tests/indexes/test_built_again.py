"""`index build` given again: done before for the same rows, refused for any other."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main

Capture = pytest.CaptureFixture[str]


class Killed(BaseException):
    """Ends a command where it stands."""


def write(folder: Path, texts: list[str]) -> str:
    folder.mkdir(exist_ok=True)
    names = [f"u{number}" for number in range(len(texts))]
    table = pa.table({"uid": names, "text": texts})
    pq.write_table(
        table, folder / "a.parquet", use_dictionary=False, compression="none"
    )
    return str(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return write(tmp_path / "pool", [f"word{i} and more of {i}" for i in range(9)])


@pytest.fixture
def index(pool: str, tmp_path: Path) -> Path:
    assert main(["index", "build", pool, "--out", str(tmp_path / "i")]) == 0
    return tmp_path / "i"


def test_the_same_command_says_that_it_was_done(
    pool: str, index: Path, capsys: Capture
):
    before = files(index)
    capsys.readouterr()
    assert main(["index", "build", pool, "--out", str(index)]) == 0
    told = "was built of the same rows before and holds 9; nothing is changed"
    assert told in capsys.readouterr().out
    assert main(["index", "build", pool, "--out", str(index), "--json"]) == 0
    assert '"built_before": true' in capsys.readouterr().out
    assert main(["index", "compact", str(index)]) == 0
    assert main(["index", "build", pool, "--out", str(index)]) == 0
    assert files(index).keys() == before.keys()
    assert list(index.parent.glob(".building-*")) == []


def test_a_build_killed_when_it_had_its_name_is_done(
    pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = os.replace

    def killed(source: Path, target: Path) -> None:
        original(source, target)
        if Path(target).name == "i":
            raise Killed

    words = ["index", "build", pool, "--out", str(tmp_path / "i")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            main(words)
    before = files(tmp_path / "i")
    assert main(words) == 0
    assert files(tmp_path / "i") == before


OTHERS = ["other texts", "another pool", "another setting", "grown", "shrunk", "cut"]


@pytest.mark.parametrize("other", OTHERS)
def test_anything_else_is_refused(
    other: str, pool: str, index: Path, tmp_path: Path, capsys: Capture
):
    words = ["index", "build", pool, "--out", str(index)]
    if other == "other texts":  # of the same name, rows and bytes
        write(Path(pool), [f"word{i} and more of {8 - i}" for i in range(9)])
    elif other == "another pool":
        write(tmp_path / "p2", ["one", "two"])
        words[2] = str(tmp_path / "p2")
    elif other == "another setting":
        words += ["--set", "ngram=3"]
    elif other == "grown":
        more = write(tmp_path / "more", ["one more text"])
        assert main(["index", "add", str(index), more]) == 0
    elif other == "shrunk":
        assert main(["index", "remove", str(index), "--uid", "u3"]) == 0
    else:
        state = index / "index.json"
        state.write_bytes(state.read_bytes()[:99])
    before = files(index)
    capsys.readouterr()
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    assert files(index) == before
    assert list(tmp_path.glob(".building-*")) == []
