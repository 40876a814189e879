"""Killed at any moment, the same command ends as if nothing had happened.

Everything becomes final by a rename, so a run is stopped before and after each of its
renames: at once by an exception that nothing catches, and for real by SIGKILL.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import winnow
import yaml
from winnow.core import run_folder

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = ["embed", "cluster", "semantic", "random", "apply"]
#: What a run was and what it measured, but no result.
MEASURED = ("done.json", "steps.parquet")


class Killed(BaseException):
    """Ends a run where it stands."""


@contextmanager
def killed_at(run: Path, moment: int, *, after: bool) -> Iterator[list[int]]:
    """Stop before or after the `moment`-th rename, or amid a removal.

    Yields the renames and removals within `run` so far; caches of code that a first
    run fills elsewhere do not count.
    """
    seen: list[int] = []
    original, whole = os.replace, shutil.rmtree

    def replace(source: Any, target: Any) -> None:
        if run not in Path(target).parents:
            return original(source, target)
        seen.append(1)
        if len(seen) == moment and not after:
            raise Killed
        original(source, target)
        if len(seen) == moment:
            raise Killed

    def rmtree(folder: Any, **how: Any) -> None:
        if run not in Path(folder).parents:
            return whole(folder, **how)
        seen.append(1)
        if len(seen) == moment:
            for file in [f for f in Path(folder).rglob("*") if f.is_file()][::2]:
                file.unlink()
            raise Killed
        whole(folder, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder.os, "replace", replace)
        patch.setattr(run_folder.shutil, "rmtree", rmtree)
        yield seen


def results(run: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in (*MEASURED, ".lock", "winnow.log")
    }


def finished_steps(run: Path) -> set[str]:
    return {file.parent.name for file in run.glob("artifacts/*/done.json")}


def assert_resumes(
    recipe: dict[str, Any], expected: dict[str, bytes], run: Path
) -> None:
    before = finished_steps(run)
    result = winnow.run(recipe)
    assert not before & set(result.ran), "a finished step was run again"
    assert results(run) == expected
    assert not (run / ".work").exists()


#: Whether a run is stopped after a rename or before it, and at which of them. What lies
#: there before one lay there after the last, but for files without their final names.
STOPS = [
    pytest.param(False, 4, id="before some"),
    pytest.param(True, 1, id="after each", marks=pytest.mark.slow),
    pytest.param(False, 1, id="before each", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("after", "every"), STOPS)
def test_stopped_at_every_rename_of_a_fresh_run(
    vector_recipe: Callable[..., dict],
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
    after: bool,
    every: int,
):
    rows = planted_table(60).to_pylist()
    rows[7]["iv"] = None
    table = pa.Table.from_pylist(rows, planted_table(60).schema)
    run = tmp_path / "run"
    recipe = vector_recipe(write_shards(tmp_path / "p", table, 25), run, STEPS)
    with killed_at(run, -1, after=after) as renames:
        winnow.run(recipe)
    expected = results(run)
    for moment in range(1, len(renames) + 1, every):
        shutil.rmtree(run)
        with pytest.raises(Killed), killed_at(run, moment, after=after):
            winnow.run(recipe)
        assert_resumes(recipe, expected, run)


@pytest.mark.parametrize(("after", "every"), STOPS)
def test_stopped_at_every_rename_of_a_changed_run(
    vector_recipe: Callable[..., dict],
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
    after: bool,
    every: int,
):
    pool = write_shards(tmp_path / "p", planted_table(60), 25)
    run = tmp_path / "run"
    old = vector_recipe(pool, run, STEPS, semantic={"epsilon": 0.05})
    new = vector_recipe(
        pool, run, [*STEPS[:-1], "prototypes"], semantic={"epsilon": 0.01}
    )
    winnow.run(old)
    kept_old = tmp_path / "old"
    shutil.copytree(run, kept_old)
    with killed_at(run, -1, after=after) as renames:
        winnow.run(new)
    expected = results(run)
    for moment in range(1, len(renames) + 1, every):
        shutil.rmtree(run)
        shutil.copytree(kept_old, run)
        with pytest.raises(Killed), killed_at(run, moment, after=after):
            winnow.run(new)
        winnow.run(new)
        # Whether neighbours were taken over is told in the manifest; all else is equal.
        assert without_manifest(results(run)) == without_manifest(expected)
        assert not (run / "kept").exists()


def without_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name != "manifest.json"}


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_embedding_goes_on_with_the_part_it_was_at(
    vector_recipe: Callable[..., dict],
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    tiny_vit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
):
    import winnow.steps.embed as step

    monkeypatch.setattr(step, "_PART_ROWS", 8)
    embedded: list[str] = []
    original = step.embed_batches

    def counted(batches: Iterator[pa.RecordBatch], **how: Any) -> Iterator[Any]:
        for batch in original(batches, **how):
            embedded.extend(batch.column("uid").to_pylist())
            yield batch

    monkeypatch.setattr(step, "embed_batches", counted)
    pool = write_shards(tmp_path / "p", picture_table(30), 10)
    run = tmp_path / "run"
    recipe = vector_recipe(
        pool,
        run,
        ["exact", "embed", "score", "apply"],
        embed={"image_column": None, "text_column": None},
        model={"name": tiny_vit, "batch_size": 4, "precision": "float32"},
    )
    with killed_at(run, -1, after=False) as renames:
        winnow.run(recipe)
    expected, once = results(run), len(embedded)
    for moment in range(1, len(renames) + 1, every):
        shutil.rmtree(run)
        embedded.clear()
        with pytest.raises(Killed), killed_at(run, moment, after=True):
            winnow.run(recipe)
        assert_resumes(recipe, expected, run)
        assert len(embedded) == once, "a part that was on disk was embedded again"


def test_a_setting_changed_halfway_takes_nothing_over(
    vector_recipe: Callable[..., dict],
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    read_run: Callable[..., Any],
    tiny_vit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    import winnow.steps.embed as step

    monkeypatch.setattr(step, "_PART_ROWS", 8)
    pool = write_shards(tmp_path / "p", picture_table(30), 10)

    def recipe(run: Path, seed: int) -> dict[str, Any]:
        return vector_recipe(
            pool,
            run,
            ["random", "embed", "score", "apply"],
            seed=seed,
            embed={"image_column": None, "text_column": None},
            model={"name": tiny_vit, "batch_size": 4, "precision": "float32"},
        )

    winnow.run(recipe(tmp_path / "fresh", 2))
    expected = results(tmp_path / "fresh")
    vectors = read_run(tmp_path / "fresh").artifact("embed", "vectors")
    with killed_at(tmp_path / "run", -1, after=False) as renames:
        winnow.run(recipe(tmp_path / "run", 1))
    for moment in range(1, len(renames) + 1, 6):
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(Killed), killed_at(tmp_path / "run", moment, after=True):
            winnow.run(recipe(tmp_path / "run", 1))
        winnow.run(recipe(tmp_path / "run", 2))
        files = results(tmp_path / "run")
        assert set(files) == set(expected)
        # Vectors that are taken over stand before new ones.
        taken_over = read_run(tmp_path / "run").artifact("embed", "vectors")
        assert taken_over.sort_by("uid").equals(vectors.sort_by("uid"))
        other = {name for name in files if files[name] != expected[name]}
        assert other <= {
            "config.lock.yaml",
            "artifacts/embed/contents/part-00000.parquet",
            "artifacts/embed/vectors/part-00000.parquet",
        }


def command(file: Path) -> list[str]:
    return [sys.executable, "-m", "winnow", "run", os.fspath(file), "--json"]


def kill_and_finish(recipe: dict[str, Any], file: Path, delay: float) -> dict[str, Any]:
    """Run the command, SIGKILL it after `delay` seconds, and run it to its end."""
    file.write_text(yaml.safe_dump(recipe))
    first = subprocess.Popen(
        command(file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(delay)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = finished_steps(Path(recipe["output"]["path"]))
    second = subprocess.run(
        command(file), capture_output=True, text=True, check=False, timeout=300
    )
    assert second.returncode == 0, second.stderr
    told: dict[str, Any] = json.loads(second.stdout)
    assert not before & set(told["ran"])
    return told


def killed_at_random_moments(recipe: dict[str, Any], seeds: range) -> None:
    run = Path(recipe["output"]["path"])
    file = run.with_name("recipe.yaml")
    file.write_text(yaml.safe_dump(recipe))
    start = time.perf_counter()
    subprocess.run(command(file), check=True, capture_output=True, timeout=300)
    whole = time.perf_counter() - start
    expected = results(run)
    for seed in seeds:
        shutil.rmtree(run)
        delay = random.Random(seed).uniform(0.2, 1.0) * whole
        kill_and_finish(recipe, file, delay)
        assert results(run) == expected


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(1), marks=pytest.mark.slow),
        pytest.param(range(1, 25), marks=pytest.mark.soak),
    ],
    ids=repr,
)
def test_kill_9_at_a_random_moment(
    vector_recipe: Callable[..., dict],
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
    seeds: range,
):
    pool = write_shards(tmp_path / "p", planted_table(2_000), 300)
    recipe = vector_recipe(pool, tmp_path / "run", STEPS)
    killed_at_random_moments(recipe, seeds)


@pytest.mark.soak
def test_kill_9_while_images_are_embedded(
    vector_recipe: Callable[..., dict],
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    tiny_vit: str,
    tmp_path: Path,
):
    recipe = vector_recipe(
        write_shards(tmp_path / "p", picture_table(5_000), 1_000),
        tmp_path / "run",
        ["exact", "embed", "cluster", "semantic", "score", "apply"],
        embed={"image_column": None, "text_column": None},
        model={"name": tiny_vit, "precision": "float32"},
    )
    killed_at_random_moments(recipe, range(4))
