"""One pool in several formats: the same decisions, and kept rows in kind.

Judges: WebDataset's own reader, and open_clip's way of reading kept tars.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import deltalake
import pyarrow as pa
import pytest
import webdataset
from winnow.handles.run import Run

from tests.formats.tars import sample, write_tar

Winnow = Callable[..., Any]
STEPS = ["exact", "rules", "apply"]
RULES = {"rules": {"min_words": 3}}


@pytest.fixture(scope="module")
def table(picture_table: Callable[..., pa.Table]) -> pa.Table:
    return picture_table(24).select(["uid", "image", "text", "url"])


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINNOW_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def of_parquet(
    winnow: Winnow,
    table: pa.Table,
    write_shards: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    folder = tmp_path_factory.mktemp("parquet")
    pool = write_shards(folder / "p", table, 10)
    return winnow(pool, folder / "r", STEPS, **RULES)


def as_tars(pool: Path, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 10):
        members = [
            member
            for number, row in enumerate(rows[start : start + 10], start)
            for member in sample(
                f"{number:05d}",
                row["image"],
                row["text"],
                uid=row["uid"],
                url=row["url"],
            )
        ]
        write_tar(pool / f"{start // 10:05d}.tar", members)


def as_lines(pool: Path, rows: list[dict[str, Any]]) -> None:
    (pool / "img").mkdir()
    lines = []
    for number, row in enumerate(rows):
        (pool / "img" / f"{number}.jpg").write_bytes(row["image"])
        lines.append(json.dumps({**row, "image": f"img/{number}.jpg"}))
    (pool / "pool.jsonl").write_text("\n".join(lines))


def as_csv(pool: Path, rows: list[dict[str, Any]]) -> None:
    (pool / "img").mkdir()
    with (pool / "pool.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for number, row in enumerate(rows):
            (pool / "img" / f"{number}.jpg").write_bytes(row["image"])
            writer.writerow({**row, "image": f"img/{number}.jpg"})


def as_saved(pool: Path, rows: list[dict[str, Any]]) -> None:
    data = datasets.Dataset(pa.Table.from_pylist(rows))
    data.cast_column("image", datasets.Image()).save_to_disk(pool, num_shards=3)


def as_delta(pool: Path, rows: list[dict[str, Any]]) -> None:
    gone = [{**row, "uid": f"gone {row['uid']}"} for row in rows]
    table = pa.Table.from_pylist(rows + gone)
    deltalake.write_deltalake(pool, table, partition_by=["text"])
    deltalake.DeltaTable(pool).delete("uid LIKE 'gone%'")


def as_folders(pool: Path, rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        stem = pool / f"set{number % 3}" / f"{number:03d}"
        stem.parent.mkdir(exist_ok=True)
        stem.with_suffix(".jpg").write_bytes(row["image"])
        stem.with_suffix(".txt").write_text(row["text"])
        about = {"uid": row["uid"], "url": row["url"]}
        stem.with_suffix(".json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    "write", [as_tars, as_lines, as_csv, as_saved, as_delta, as_folders]
)
def test_the_same_pool_in_another_format_gives_the_same_decisions(
    winnow: Winnow, table: pa.Table, of_parquet: Any, tmp_path: Path, write: Any
):
    pool = tmp_path / "p"
    pool.mkdir()
    write(pool, table.to_pylist())
    run = winnow(pool, tmp_path / "r", STEPS, **RULES)
    for step in STEPS[:-1]:
        assert run.ledger(step) == of_parquet.ledger(step)
    assert 0 < run.result.kept == of_parquet.result.kept < len(table)


def test_kept_tars_hold_the_members_byte_for_byte_and_run_again(
    winnow: Winnow, table: pa.Table, of_parquet: Any, tmp_path: Path
):
    pool = tmp_path / "p"
    pool.mkdir()
    as_tars(pool, table.to_pylist())
    before = {s["__key__"]: s for s in samples_of(pool)}
    run = winnow(pool, tmp_path / "r", STEPS, **RULES)
    kept = samples_of(run.path / "kept")
    uids = {json.loads(s["json"])["uid"] for s in kept}
    assert uids == of_parquet.kept("rules") & of_parquet.kept("exact")
    for given in kept:
        original = before[given["__key__"]]
        assert {n: d for n, d in given.items() if n[0] != "_"} == {
            n: d for n, d in original.items() if n[0] != "_"
        }
    pictures = webdataset.WebDataset(tars(run.path / "kept"), shardshuffle=False)
    pairs = pictures.decode("pilrgb").rename(image="jpg;png;jpeg;webp", text="txt")
    assert len(list(pairs.to_tuple("image", "text"))) == len(kept)
    again = winnow(run.path / "kept", tmp_path / "again", STEPS, **RULES)
    assert again.result.kept == len(kept)
    with Run(run.path) as opened:
        sql = "SELECT uid, text, url, image FROM samples ORDER BY uid"
        rows = opened.query(sql).to_pylist()
    columns = table.select(["uid", "text", "url", "image"])
    assert rows == columns.sort_by("uid").to_pylist()


def tars(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.tar")))


def samples_of(folder: Path) -> list[dict[str, Any]]:
    return list(webdataset.WebDataset(tars(folder), shardshuffle=False))
