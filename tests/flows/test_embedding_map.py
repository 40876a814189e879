"""`winnow map`: what is stored, that it is the run's, and what is said if it is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from winnow.core import extras
from winnow.core.errors import ConfigError, QueryError
from winnow.core.run_folder import RunFolder
from winnow.flows.embedding_map import make_map
from winnow.models.map_layout import PlacedRows, laid_out
from winnow.reports.map_file import LAYOUT, read_map, write_facts


@pytest.fixture(scope="module")
def run_of_vectors(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Any,
    write_shards: Any,
    winnow: Any,
) -> Path:
    folder = tmp_path_factory.mktemp("mapped")
    pool = write_shards(folder / "pool", planted_table(120))
    steps = ["exact", "embed", "apply"]
    return Path(winnow(pool, folder / "run", steps).path)


def test_rows_that_were_not_laid_out_lie_between_their_nearest():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = rng.standard_normal((40, 2)).astype(np.float32)
    known = PlacedRows(vectors, places)
    # A row that is there already lies where it lies, but for its other neighbours.
    given = known.of(vectors)
    cosines = vectors @ vectors.T
    for row in range(40):
        low, high = (f(places, axis=0) for f in (np.min, np.max))
        assert ((given[row] >= low) & (given[row] <= high)).all()
        nearest = np.argsort(-cosines[row])[:3]
        weights = np.clip(cosines[row, nearest], 1e-6, None) ** 8
        expected = weights @ places[nearest] / weights.sum()
        assert np.allclose(given[row], expected, atol=1e-4)


def test_few_rows_lie_on_a_line_without_a_library(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "EXTRAS", {"map": ("no_such_package",)})
    assert laid_out(np.eye(5, dtype=np.float32), seed=0).tolist() == [
        [float(i), 0.0] for i in range(5)
    ]
    with pytest.raises(ConfigError, match=r"pip install 'datawinnow\[map\]'"):
        make_map("nowhere")


def test_a_run_without_a_map_says_which_command_makes_one(run_of_vectors: Path):
    with pytest.raises(QueryError, match="winnow map"):
        read_map(RunFolder(run_of_vectors.parent / "run"))


@pytest.mark.slow
def test_a_map_is_the_same_again_whole_and_of_its_vectors(
    run_of_vectors: Path, tmp_path: Path
):
    folder = RunFolder(run_of_vectors)
    told = make_map(run_of_vectors, sample=60, seed=3)
    file, facts = read_map(folder)
    first = pq.read_table(file)
    assert (told["rows"], told["sampled"]) == (facts.rows, 60)
    assert first.num_rows == facts.rows == len(set(first["uid"].to_pylist()))
    assert sum(first["sampled"].to_pylist()) == 60
    assert np.isfinite(first["x"].to_numpy()).all()
    make_map(run_of_vectors, sample=60, seed=3)
    assert pq.read_table(read_map(folder)[0]).equals(first)
    assert list(run_of_vectors.glob(".map-*")) == []
    # Whatever is cut or exchanged is told, with the remedy.
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(QueryError, match=r"damaged.*winnow map"):
        read_map(folder)
    file.write_bytes(whole)
    write_facts(file.parent, replace(facts, of="0" * len(facts.of)))
    with pytest.raises(QueryError, match="others than those of its map"):
        read_map(folder)
    file.with_name("done.json").unlink()
    assert file.name == LAYOUT
    with pytest.raises(QueryError, match="no map yet"):
        read_map(folder)


def test_what_a_killed_map_has_left_goes_with_the_next(
    run_of_vectors: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(run_of_vectors, run)
    (run / ".map").mkdir()
    (run / ".map" / LAYOUT).write_bytes(b"half of a map")
    make_map(run)
    assert read_map(RunFolder(run))[1].rows == 103
    assert not (run / ".map").exists()
