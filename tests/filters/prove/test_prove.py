"""`winnow prove`: verdicts on planted pools, leaks, refusals, the same twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.cli.main import main
from winnow.config.filter_train import parse
from winnow.config.recipes import load
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.engines import open_engine
from winnow.filters.prove.prove import Proving
from winnow.filters.prove.tune import Tuning
from winnow.flows.runner import run as run_recipe
from winnow.flows.what_if import what_if
from winnow.handles.engine import make_engine
from winnow.handles.proof import prove, tune

from tests.conftest import hex_uid
from tests.trusted_pool import recipe, trusted_table, write_pool

DIM = 16
COLUMNS = {"input": {"columns": {"image": None}}}


def pairs(rows: int, seed: int, wrong: float = 0.0) -> pa.Table:
    """Rows whose caption's vector is the image's with noise; some have another's."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(rows, DIM)).astype(np.float32)
    texts = images + 1.0 * rng.normal(size=images.shape).astype(np.float32)
    bad = np.flatnonzero(rng.random(rows) < wrong)
    texts[bad] = texts[np.roll(bad, 1)]
    return pa.table(
        {
            "uid": [hex_uid(1000 * seed + row) for row in range(rows)],
            "text": [f"{seed} {row}" for row in range(rows)],
            "iv": pa.array(list(images), pa.list_(pa.float32())),
            "tv": pa.array(list(texts), pa.list_(pa.float32())),
            "side": np.where(images[:, 0] > 0, "left", "right").tolist(),
        }
    )


@pytest.fixture(scope="module")
def proven(
    tmp_path_factory: pytest.TempPathFactory, winnow: Any, write_shards: Any
) -> Path:
    """Return a folder: `pool`, 60 % of it wrong, `held`, runs `scored` and `chance`."""
    folder = tmp_path_factory.mktemp("proven")
    write_shards(folder / "pool", pairs(250, 1, wrong=0.6), shard_rows=200)
    write_shards(folder / "held", pairs(120, 2))
    steps = ["embed", "score", "apply"]
    winnow(folder / "pool", folder / "scored", steps,
           score={"keep_fraction": 0.4}, **COLUMNS)  # fmt: skip
    steps[1] = "random"
    winnow(folder / "pool", folder / "chance", steps,
           random={"keep_fraction": 0.4}, **COLUMNS)  # fmt: skip
    return folder


def test_what_is_planted_shows_and_chance_does_not(proven: Path, tmp_path: Path):
    runs = [proven / "scored", proven / "chance"]
    result = prove(runs, proven / "held", Proving(seeds=4), out=tmp_path / "out")
    scored, chance = result["runs"]
    assert scored["better"]
    assert "better than random at this budget of 100 rows" in scored["verdict"]
    assert scored["against_whole"]["auc_random"]["mean"] > 0
    assert not chance["better"]
    assert "not shown" in chance["verdict"]
    for run in (scored, chance):
        arms = {arm["trained_on"]: arm["rows"] for arm in run["arms"]}
        assert arms == {"kept": 100, "random": 100, "whole pool": 250}
        gap = run["against_random"]["auc_random"]
        kept, random = (a["auc_random"]["by_seed"] for a in run["arms"][:2])
        expected = [a - b for a, b in zip(kept, random, strict=True)]
        assert gap["by_seed"] == pytest.approx(expected)
        assert gap["mean"] == pytest.approx(np.mean(expected))
    stored = json.loads((tmp_path / "out" / "prove.json").read_text())
    assert stored["runs"][0]["verdict"] == scored["verdict"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "better than random at this budget" in page
    assert "Student" in page


def test_the_same_call_says_the_same(proven: Path):
    how = Proving(seeds=2, epochs=3)
    first = prove(proven / "scored", proven / "held", how)
    assert prove(proven / "scored", proven / "held", how) == first


def test_held_out_rows_of_the_pool_are_left_out_and_told(
    proven: Path, tmp_path: Path, write_shards: Any, capsys: pytest.CaptureFixture[str]
):
    pool = pairs(250, 1, wrong=0.6).slice(0, 20)
    # Another name does not make it another row.
    renamed = pool.set_column(0, "uid", pa.array([f"new {i}" for i in range(20)]))
    leaky = pa.concat_tables([pairs(120, 2), renamed])
    write_shards(tmp_path / "leaky", leaky)
    clean = prove(proven / "scored", proven / "held", Proving(seeds=2, epochs=2))
    given = ["prove", str(proven / "scored"), "--held-out", str(tmp_path / "leaky")]
    assert main([*given, "--seeds", "2", "--epochs", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["leaks"]["rows"] == 20
    assert result["held_out_rows"] == 120
    assert result["runs"] == clean["runs"]
    with pytest.raises(InputError, match="250 of 250 held-out rows stand in the pool"):
        prove(proven / "scored", proven / "pool", Proving(seeds=2))


def test_labels_are_learned_by_a_probe(proven: Path, tmp_path: Path):
    how = Proving(label="side", probe=True, seeds=2)
    result = prove(proven / "chance", proven / "held", how)
    assert result["metric"] == "accuracy"
    kept = result["runs"][0]["arms"][0]
    assert kept["accuracy"]["mean"] > 0.8
    assert kept["balanced_accuracy"]["mean"] > 0.8
    assert "accuracy" in result["runs"][0]["verdict"]


def test_images_alone_need_labels(proven: Path, tmp_path: Path, winnow: Any):
    steps = ["embed", "random", "apply"]
    vectors = {"modalities": ["image"], "image_column": "iv", "text_column": None}
    winnow(proven / "pool", tmp_path / "run", steps, embed=vectors,
           input={"columns": {"image": None, "text": None}})  # fmt: skip
    with pytest.raises(ConfigError, match="name a column of labels with --label"):
        prove(tmp_path / "run", proven / "held", Proving(seeds=2))
    result = prove(tmp_path / "run", proven / "held", Proving("side", seeds=2))
    assert result["metric"] == "accuracy"


def test_the_run_of_held_out_data_serves_as_well(
    proven: Path, tmp_path: Path, winnow: Any
):
    winnow(proven / "held", tmp_path / "held", ["embed"], **COLUMNS)
    how = Proving(seeds=2, epochs=2)
    result = prove(proven / "scored", tmp_path / "held", how)
    of_files = prove(proven / "scored", proven / "held", how)
    assert result["runs"] == of_files["runs"]


def test_a_run_made_on_spark_is_proven_on_this_machine(
    proven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The run says `engine: {name: spark}`, as one made there does."""
    lock = proven / "scored" / "config.lock.yaml"
    there = load(lock, ["engine.name=spark"], str(tmp_path / "there"))

    def local(config: Any, scratch: Path) -> Any:
        return open_engine("local", scratch=scratch, group_bytes=2**28)

    run_recipe(there, local)
    monkeypatch.setattr("winnow.engines.spark.engine.SparkEngine", None)
    run, held = tmp_path / "there", proven / "held"
    how = Proving(seeds=2, epochs=2)
    result, expected = (prove(of, held, how) for of in (run, proven / "scored"))
    for proof in (*result["runs"], *expected["runs"]):
        assert proof["verdict"].startswith(proof.pop("run"))
        proof.pop("verdict")
    assert result == expected
    tuning = Tuning(0.2, {"score.method": ["neg_clip_loss"]}, how)
    tuned = tune(run, held, tuning, out=tmp_path / "tuned")
    assert len(tuned["candidates"]) == 2
    # What is recommended runs where the run did.
    assert "name: spark" in (tmp_path / "tuned" / "recipe.yaml").read_text()
    other = what_if(run, ["score.keep_fraction=.2"], make_engine)
    assert other["kept"]["b"] == 50


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (Proving(seeds=1), "--seeds is 1"),
        (Proving(probe=True), "--probe learns labels"),
        (Proving(label="colour", probe=True), "--label colour"),
        (Proving(label="side"), "ready-made"),
        (Proving(label="uid", probe=True), "fewer than two of the pool's labels"),
        (Proving(epochs=0), "--epochs is 0"),
    ],
)
def test_what_cannot_be_is_refused(proven: Path, how: Proving, says: str):
    with pytest.raises(ConfigError, match=says):
        prove(proven / "scored", proven / "held", how)


def test_runs_are_of_one_pool_and_have_vectors(
    proven: Path, tmp_path: Path, winnow: Any
):
    winnow(proven / "held", tmp_path / "other", ["embed", "random", "apply"], **COLUMNS)
    with pytest.raises(RunError, match="another pool"):
        prove([proven / "scored", tmp_path / "other"], proven / "held")
    winnow(proven / "pool", tmp_path / "bare", ["random", "apply"], **COLUMNS)
    with pytest.raises(RunError, match="no step `embed`"):
        prove(tmp_path / "bare", proven / "held")
    with pytest.raises(ConfigError, match="name a run"):
        prove([], proven / "held")


def test_a_pool_that_changed_is_refused(
    tmp_path: Path, winnow: Any, write_shards: Callable[..., Path]
):
    pool = write_shards(tmp_path / "pool", pairs(60, 1))
    write_shards(tmp_path / "held", pairs(30, 2))
    winnow(pool, tmp_path / "run", ["embed", "random", "apply"], **COLUMNS)
    write_shards(pool, pairs(80, 3))
    with pytest.raises(InputError, match="has changed since"):
        prove(tmp_path / "run", tmp_path / "held", Proving(seeds=2))


@pytest.mark.slow
def test_a_recipe_trains_whole_models_from_images(tmp_path: Path, winnow: Any):
    table = trusted_table(60, captions=1)
    pool = write_pool(tmp_path / "pool", table)
    held = trusted_table(40, seed=1)
    leaked = table.slice(0, 3).set_column(0, "uid", pa.array(["x", "y", "z"]))
    write_pool(tmp_path / "held", pa.concat_tables([held, leaked]))
    columns = {"uid": "uid", "image": "image", "text": "captions"}
    winnow(pool, tmp_path / "run", ["random", "apply"], input={"columns": columns},
           random={"keep_fraction": 0.4})  # fmt: skip
    how = Proving(seeds=2, recipe=parse(recipe(pool, tmp_path / "unused", epochs=4)))
    result = prove(tmp_path / "run", tmp_path / "held", how, out=tmp_path / "out")
    assert result["leaks"]["rows"] == 3
    assert result["held_out_rows"] == 40
    run = result["runs"][0]
    assert [arm["rows"] for arm in run["arms"]] == [24, 24, 60]
    assert "not shown" in run["verdict"]
    trained = tmp_path / "out" / "trained"
    manifests = [json.loads(f.read_text()) for f in trained.rglob("manifest.json")]
    assert len(manifests) == 6
    assert {m["recipe"]["seed"] for m in manifests} == {0, 1}
    # As many steps on all rows as on those that are kept.
    steps = {m["result"]["steps"] for m in manifests}
    assert max(steps) - min(steps) <= 1
