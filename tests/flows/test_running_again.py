"""The same command goes on where it was; a changed setting reruns what it must."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.cli.progress import summary
from winnow.config import recipes
from winnow.core.errors import RunError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = ["rules", "embed", "cluster", "semantic", "score", "random", "apply"]


@pytest.fixture
def first(winnow: Winnow, planted_pool: Path, tmp_path: Path) -> Any:
    return winnow(planted_pool, tmp_path / "run", STEPS)


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, step: str, rows: int) -> None: ...

    def advanced(self, done: int, total: int) -> None: ...

    def finished(self, marker: Any, *, again: bool) -> None:
        self.lines.append(summary(marker, again=again))


def test_the_same_recipe_again_does_nothing_and_changes_nothing(
    first: Any, planted_pool: Path, vector_recipe: Callable[..., dict]
):
    before, files = first.times(), first.files()
    told = Told()
    recipe = vector_recipe(planted_pool, first.path, STEPS)
    again = winnow.run(recipe, progress=told)
    assert again.ran == []
    assert first.times() == before
    assert first.files() == files
    assert len(told.lines) == len(STEPS) + 1
    assert all("done before" in line for line in told.lines)
    assert (again.kept, again.dropped) == (first.result.kept, first.result.dropped)


def test_the_lock_file_is_the_same_recipe(first: Any):
    before = first.times()
    lock = recipes.load(first.path / "config.lock.yaml")
    assert winnow.run(lock).ran == []
    assert first.times() == before


def test_a_lock_file_that_names_more_files_is_the_same_recipe_anywhere(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from winnow import run

    (tmp_path / "concepts.txt").write_text("row\n1\n")
    monkeypatch.chdir(tmp_path)
    balance = {"concepts": "concepts.txt", "limit": 5}
    steps = ["exact", "balance", "apply"]
    first = winnow(planted_pool, tmp_path / "run", steps, balance=balance)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    lock = recipes.load(first.path / "config.lock.yaml")
    assert run(lock).ran == []


@pytest.mark.parametrize(
    ("changes", "ran"),
    [
        ({"apply": {"shard_rows": 9}}, ["apply"]),
        ({"random": {"keep_fraction": 0.4}}, ["random", "apply"]),
        ({"score": {"keep_fraction": 0.7}}, ["score", "random", "apply"]),
        ({"semantic": {"epsilon": 0.3}}, ["semantic", "score", "random", "apply"]),
        ({"rules": {"min_words": 1}}, STEPS),
        ({"seed": 5}, ["cluster", "semantic", "score", "random", "apply"]),
        ({"engine": {"group_mb": 1}}, []),
        ({"model": {"decode_threads": 1}}, []),
        ({"model": {"name": "other"}}, []),
    ],
    ids=str,
)
def test_a_changed_setting_reruns_what_depends_on_it_and_nothing_else(
    winnow: Winnow,
    first: Any,
    planted_pool: Path,
    tmp_path: Path,
    changes: dict,
    ran: list[str],
):
    changed = winnow(planted_pool, first.path, STEPS, **changes)
    assert changed.result.ran == ran
    fresh = winnow(planted_pool, tmp_path / "fresh", STEPS, **changes)
    assert deciding_files(changed) == deciding_files(fresh)
    back = winnow(planted_pool, first.path, STEPS)
    assert back.result.ran == ran
    assert (
        deciding_files(back) != deciding_files(fresh) or not ran or "apply" in ran[:1]
    )


def deciding_files(run: Any) -> dict[str, bytes]:
    """All files but those that hold times, places on disk or what was reused."""
    return {
        name: data
        for name, data in run.files().items()
        if not name.endswith(("done.json", "steps.parquet", "lock.yaml"))
        and name != "manifest.json"
    }


def test_a_changed_shard_reruns_everything(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", planted_table())
    winnow(pool, tmp_path / "r", STEPS)
    file = pool / "00001.parquet"
    table = pq.ParquetFile(file).read()
    pq.write_table(table.slice(1), file)
    again = winnow(pool, tmp_path / "r", STEPS)
    assert again.result.ran == ["index", *STEPS]
    assert again.result.rows == 199


def test_a_moved_pool_is_the_same_pool(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", planted_table())
    winnow(pool, tmp_path / "r", STEPS)
    moved = pool.rename(tmp_path / "moved")
    assert winnow(moved, tmp_path / "r", STEPS).result.ran == []


def test_a_step_taken_out_leaves_no_trace(
    winnow: Winnow, first: Any, planted_pool: Path, tmp_path: Path
):
    without = [step for step in STEPS if step != "score"]
    changed = winnow(planted_pool, first.path, without)
    assert changed.result.ran == ["random", "apply"]
    fresh = winnow(planted_pool, tmp_path / "fresh", without)
    assert deciding_files(changed) == deciding_files(fresh)
    assert set(changed.files()) == set(fresh.files())


def test_results_of_an_apply_that_is_taken_out_go(
    winnow: Winnow, first: Any, planted_pool: Path, tmp_path: Path
):
    changed = winnow(planted_pool, first.path, STEPS[:-1])
    assert changed.result.ran == []
    fresh = winnow(planted_pool, tmp_path / "fresh", STEPS[:-1])
    assert set(changed.files()) == set(fresh.files())
    steps = pq.ParquetFile(changed.path / "steps.parquet").read()["step"].to_pylist()
    assert steps == ["index", *STEPS[:-1]]


def test_a_subset_file_goes_when_uids_no_longer_make_one(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    table = planted_table(20)
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", ["apply"])
    assert (run.path / "subset.npy").exists()
    names = pa.array([f"row {i}" for i in range(20)])
    write_shards(pool, table.set_column(0, "uid", names))
    winnow(pool, tmp_path / "r", ["apply"])
    assert not (run.path / "subset.npy").exists()


def test_a_lost_summary_is_written_again(
    winnow: Winnow, first: Any, planted_pool: Path
):
    files = first.files()
    (first.path / "steps.parquet").unlink()
    assert winnow(planted_pool, first.path, STEPS).result.ran == []
    assert first.files() == files


def test_other_weights_in_the_models_folder_embed_again(
    winnow: Winnow,
    save_checkpoint: Callable[..., str],
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    model = {"name": save_checkpoint("vit", resize_mode="squash")}
    pool = write_shards(tmp_path / "p", picture_table(12))
    no_columns = {"image_column": None, "text_column": None}
    settings = {"embed": no_columns, "model": model}
    one = winnow(pool, tmp_path / "r", ["embed", "score"], **settings)
    assert winnow(pool, one.path, ["embed", "score"], **settings).result.ran == []
    config = Path(model["name"].removeprefix("local-dir:")) / "open_clip_config.json"
    vectors = one.artifact("embed", "vectors")
    config.write_text(config.read_text().replace('"mean": [0.5', '"mean": [0.1'))
    other = winnow(pool, one.path, ["embed", "score"], **settings)
    assert other.result.ran == ["embed", "score"]
    assert not other.artifact("embed", "vectors").equals(vectors)


def test_a_second_process_on_the_same_run_is_told(
    winnow: Winnow, first: Any, planted_pool: Path
):
    code = (
        "import sys; from winnow.core.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).locked(): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, os.fspath(first.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    before = first.times()
    with pytest.raises(RunError, match="another process is writing this run"):
        winnow(planted_pool, first.path, STEPS, seed=9)
    assert first.times() == before
    other.communicate("\n")
    assert winnow(planted_pool, first.path, STEPS).result.ran == []
