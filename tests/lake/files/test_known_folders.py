"""Folders that are as they were: what a lake holds is told without looking at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.lake.files.catalogue import LakeSource, changes
from winnow.lake.files.csv_tables import CsvOptions
from winnow.lake.files.saved_tables import SavedTables, as_table

ROWS = pa.table({"id": [1, 2], "name": ["a", None]})


def write(path: Path, table: pa.Table = ROWS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _delta_log(lake: Path) -> None:
    (lake / "a" / "_delta_log").mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda lake: None,
    "a new table": lambda lake: write(lake / "a" / "new.parquet"),
    "a rewritten one": lambda lake: write(
        lake / "a" / "x.parquet", pa.table({"n": [1]})
    ),
    "one less": lambda lake: (lake / "b" / "y.csv").unlink(),
    "renamed": lambda lake: (lake / "b" / "y.csv").rename(lake / "b" / "z.csv"),
    "a link": lambda lake: (lake / "a" / "l.parquet").symlink_to("x.parquet"),
    "a log": _delta_log,
    "written as a whole": lambda lake: (lake / "a" / "_SUCCESS").touch(),
    "a table's folder around": lambda lake: (lake / "_SUCCESS").touch(),
    "partitions": lambda lake: (lake / "c").rename(lake / "a" / "k=1"),
    "parts": lambda lake: [write(lake / "d" / f"{i}.parquet") for i in (0, 1)],
    "a text that a glob names": lambda lake: (lake / "b" / "t.txt").write_text(
        "x\n1\n"
    ),
    "a torn one": lambda lake: (lake / "b" / "torn.parquet").write_bytes(b"PAR1"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_folders_that_did_not_change_need_no_second_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for path in ("a/x.parquet", "a/deep/w.parquet", "c/v.parquet", "top.parquet"):
        write(tmp_path / path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y.csv").write_text("x\n1\n")
    (tmp_path / "b" / "notes.md").touch()
    lake = LakeSource(str(tmp_path), csv={"**/*.txt": CsvOptions()})
    first = changes(lake, SavedTables())
    known = SavedTables([as_table(first.opened)])
    CHANGES[name](tmp_path)
    again = changes(lake, known, first.folders)
    fresh = changes(lake, SavedTables())
    now = {t.name: t for t, _ in fresh.opened}
    assert sorted([*again.same, *(t.name for t, _ in again.opened)]) == sorted(now)
    assert all(known[n][0].fingerprint == now[n].fingerprint for n in again.same)
    assert again.ignored == fresh.ignored
    assert again.folders == fresh.folders
    if name == "nothing":
        assert again.opened == []
        looked = pytest.importorskip("winnow.lake.files.catalogue")
        monkeypatch.setattr(looked, "fingerprint_of", None)
        assert changes(lake, known, again.folders).same == again.same
