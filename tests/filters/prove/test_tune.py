"""`winnow tune`: finds a planted better setting, judged on rows that did not choose."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from winnow.cli.main import main
from winnow.core.errors import ConfigError
from winnow.filters.prove.prove import Proving
from winnow.filters.prove.tune import TunedCandidate, Tuning, halve
from winnow.handles.proof import tune

from tests.filters.prove.test_prove import COLUMNS, pairs

HOW = Proving(seeds=3)


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory, winnow: Any, write_shards: Any
) -> Path:
    """Return a folder: `pool`, 60 % of it wrong, `held`, a run that keeps the worst."""
    folder = tmp_path_factory.mktemp("tuned")
    write_shards(folder / "pool", pairs(300, 1, wrong=0.6), shard_rows=200)
    write_shards(folder / "held", pairs(240, 2))
    terms = [{"method": "alignment", "weight": -1.0}]
    winnow(folder / "pool", folder / "run", ["embed", "score", "apply"],
           score={"terms": terms, "keep_fraction": 0.5}, **COLUMNS)  # fmt: skip
    return folder


def test_the_better_setting_is_recommended_and_written(pool: Path, tmp_path: Path):
    key, good = "score.terms", "[{method: alignment}]"
    tuning = Tuning(0.4, {key: [good]}, HOW)
    result = tune(pool / "run", pool / "held", tuning, out=tmp_path / "out")
    assert result["chosen"] == [f"{key}={good}"]
    assert result["chose_on"] + result["judged_on"] == 240
    assert result["better"]
    assert result["against_given"]["auc_random"]["low"] > 0
    recipe = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert recipe["score"]["keep_count"] == 120
    assert recipe["score"]["keep_fraction"] is None
    assert "recommended: score.terms" in str(result)


def test_what_cannot_keep_enough_is_left_out_and_told(
    pool: Path, tmp_path: Path, winnow: Any, capsys: pytest.CaptureFixture[str]
):
    steps = ["embed", "random", "score", "apply"]
    winnow(pool / "pool", tmp_path / "run", steps, **COLUMNS)
    asked = ["tune", str(tmp_path / "run"), "--held-out", str(pool / "held")]
    asked += ["--budget", "0.4", "--seeds", "2", "--out", str(tmp_path / "out")]
    assert main([*asked, "--over", "random.keep_fraction=.2,.9"]) == 0
    said = capsys.readouterr().out
    assert "left out: random.keep_fraction=.2, as score: cannot keep 120 of 60" in said
    assert main([*asked, "--over", "random.keep_fraction"]) == 2
    assert "write SECTION.KEY=V1,V2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tuning", "says"),
    [
        (Tuning(1.0, {"seed": [1]}, HOW), "--budget is 1"),
        (Tuning(0.3, {}, HOW), "0 candidates"),
        (Tuning(0.3, {"seed": list(range(65))}, HOW), "65 candidates"),
        (Tuning(0.3, {"score.nothing": [1]}, HOW), "score.nothing"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    pool: Path, tmp_path: Path, tuning: Tuning, says: str
):
    with pytest.raises(ConfigError, match=says):
        tune(pool / "run", pool / "held", tuning, out=tmp_path)


@pytest.mark.parametrize("words", ["tune", "budget", "prove"])
def test_a_recipe_that_is_cut_is_named(
    pool: Path, tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(pool / "run", run)
    lock = run / "config.lock.yaml"
    lock.write_bytes(lock.read_bytes()[:90])
    given = {
        "tune": ["--budget", ".3", "--over", "seed=1,2", "--out", str(tmp_path / "t")],
        "budget": ["--samples-seen", "100"],
        "prove": [],
    }[words]
    assert main([words, str(run), "--held-out", str(pool / "held"), *given]) == 3
    assert "config.lock.yaml is damaged" in capsys.readouterr().err


def test_halving_trains_the_better_half_ever_more_often():
    class Level:
        main = "auc_random"

        def train(self, rows: np.ndarray, steps: int, seed: int) -> Any:
            return {"auc_random": np.full(3, float(rows[0]))}

    candidates = [TunedCandidate([f"c={i}"], np.array([i])) for i in (3, 1, 4, 1, 5)]
    rounds = halve(candidates, Level(), 1)  # type: ignore[arg-type]
    assert [[int(c.rows[0]) for c in kept] for kept in rounds[1:]] == [
        [5, 4, 3],
        [5, 4],
        [5],
    ]
    assert [len(c.figures) for c in candidates] == [2, 1, 4, 1, 4]
