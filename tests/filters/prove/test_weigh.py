"""`winnow weigh`: planted scores get their weights, and the verdict that they earn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from winnow.cli.main import main
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.filters.prove.stored_rows import kept_draws
from winnow.filters.prove.weigh import Weighing
from winnow.flows.what_if import tried
from winnow.handles.engine import make_engine
from winnow.handles.proof import weigh
from winnow.reports.run_view import RunView

from tests.filters.prove.test_prove import COLUMNS, DIM, pairs

ROWS, KEPT = 300, 60
ASKED = Weighing(seeds=3)


def marked(rows: int, seed: int) -> pa.Table:
    """Pairs of which 80 % are wrong; one half of these is marked apart from the other.

    The marks, +6 in the first number of the caption's vector or in the second, are what
    the two heads `first` and `second` look for.
    """
    table = pairs(rows, seed)
    texts = np.array(table["tv"].to_pylist(), np.float32)
    wrong = np.flatnonzero(np.arange(rows) % 10 < 8)
    texts[wrong] = np.roll(texts[wrong], 1, axis=0)
    texts[wrong[::2], 0] += 6
    texts[wrong[1::2], 1] += 6
    captions = pa.array(list(texts), pa.list_(pa.float32()))
    return table.set_column(table.column_names.index("tv"), "tv", captions)


def head(folder: Path, name: str, weights: dict[int, float]) -> dict[str, Any]:
    """Return a term that is a linear head on captions, with these weights."""
    layer = torch.zeros(1, DIM)
    for number, weight in weights.items():
        layer[0, number] = weight
    file = folder / f"{name}.safetensors"
    save_file({"0.weight": layer, "0.bias": torch.zeros(1)}, file)
    return {"method": "head", "name": name, "weights": str(file),
            "options": {"on": "text"}}  # fmt: skip


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory, winnow: Any, write_shards: Any
) -> Path:
    """Return a folder: `held`, and runs `halves`, `noise` and `agree` of `pool`.

    In `halves` each score knows one half of the wrong pairs; in `noise` one knows
    them, and the other, which weighs more, looks at a number that says nothing; in
    `agree` both rank alike.
    """
    folder = tmp_path_factory.mktemp("mixed")
    write_shards(folder / "pool", marked(ROWS, 1), shard_rows=200)
    write_shards(folder / "held", pairs(300, 2))
    first, second = head(folder, "first", {0: -1}), head(folder, "second", {1: -1})
    knows, noise = head(folder, "knows", {0: -1, 1: -1}), head(folder, "noise", {2: 1})
    again = {**knows, "name": "again"}
    for name, terms, scale in (
        ("halves", [{**first, "weight": 1.0}, {**second, "weight": 0.1}], "standard"),
        ("noise", [{**noise, "weight": 3.0}, knows], "range"),
        ("agree", [knows, again], "none"),
    ):
        score = {"terms": terms, "keep_fraction": 0.2, "normalise": scale}
        winnow(folder / "pool", folder / name, ["embed", "score", "apply"],
               score=score, **COLUMNS)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def of_halves(mixed: Path) -> Any:
    """Return what is learned of `halves`, whose folder `out` it leaves."""
    return weigh(mixed / "halves", mixed / "held", ASKED, out=mixed / "out")


@pytest.fixture(scope="module")
def of_noise(mixed: Path) -> Any:
    """Return what is learned of `noise`."""
    return weigh(mixed / "noise", mixed / "held", ASKED)


@pytest.mark.slow
def test_two_scores_that_know_half_each_are_better_together(
    mixed: Path, of_halves: Any
):
    result = of_halves
    assert all(term["weight"] > 0.2 for term in result["terms"])
    assert result["better"]
    assert "learned weights: better than the best single score, " in result["verdict"]
    gaps = {other["selection"]: other for other in result["against"]}
    assert set(gaps) == {"given weights", "first alone", "second alone"}
    assert gaps["given weights"]["auc_random"]["low"] > 0
    means = {arm["trained_on"]: arm["auc_random"]["mean"] for arm in result["arms"]}
    assert means[result["best_single"]] == max(
        means["first alone"], means["second alone"]
    )
    assert json.loads((mixed / "out" / "weigh.json").read_text()) == result
    for term in result["terms"]:
        assert term["weight"] == pytest.approx(np.mean(term["by_seed"]), abs=0.001)
        assert term["spread"] == pytest.approx(np.std(term["by_seed"], ddof=1))


def test_the_score_that_knows_gets_the_weight_beside_noise(of_noise: Any):
    result = of_noise
    noise, knows = result["terms"]
    assert knows["weight"] > 4 * abs(noise["weight"])
    gaps = {other["selection"]: other for other in result["against"]}
    assert gaps["given weights"]["auc_random"]["better"]
    assert gaps["noise alone"]["auc_random"]["better"]
    assert gaps["knows alone"]["rows_differ"] < gaps["noise alone"]["rows_differ"]
    assert result["best_single"] == "knows alone"
    # Beside a score that knows all, a mixture has nothing to add.
    assert not result["better"]


def test_the_recipe_keeps_the_rows_that_were_judged(mixed: Path, of_noise: Any):
    result = of_noise
    section = result["recipe"]["score"]
    asked = [f"score.{key}={json.dumps(value)}" for key, value in section.items()]
    given = kept_draws(mixed / "noise")
    with tried(mixed / "noise", asked, make_engine) as other:
        kept = kept_draws(other.path)
    assert len(kept) == result["budget"] == KEPT
    differ = {o["selection"]: o["rows_differ"] for o in result["against"]}
    assert differ["given weights"] == pytest.approx(1 - len(kept & given.keys()) / KEPT)
    # Each score alone, as a what-if keeps it.
    for term in section["terms"]:
        asked = [f"score.terms={json.dumps([{**term, 'weight': 1.0}])}"]
        with tried(mixed / "noise", asked, make_engine) as other:
            alone = kept_draws(other.path)
        shared = len(kept & alone.keys()) / KEPT
        assert differ[f"{term['name']} alone"] == pytest.approx(1 - shared)


@pytest.mark.slow
def test_the_command_says_what_python_says(
    mixed: Path, of_halves: Any, capsys: pytest.CaptureFixture[str]
):
    given = ["weigh", str(mixed / "halves"), "--held-out", str(mixed / "held")]
    assert main([*given, "--step", "score", "--seeds", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == of_halves


@pytest.mark.slow
def test_scores_that_agree_show_nothing(mixed: Path):
    result = weigh(mixed / "agree", mixed / "held", Weighing(seeds=2))
    assert not result["better"]
    assert "not shown to be better than the best single" in result["verdict"]
    assert [other["rows_differ"] for other in result["against"]] == [0, 0, 0]
    told = str(result)
    assert '"name": "again", "weight": ' in told
    assert '  normalise: "standard"' in told
    assert told.endswith(result["verdict"])


@pytest.mark.slow
def test_scores_of_several_steps_are_weighed_as_one_mixture(
    mixed: Path, tmp_path: Path, winnow: Any, of_halves: Any
):
    first, second = head(tmp_path, "a", {0: -1}), head(tmp_path, "b", {1: -1})
    for term in (first, second):
        del term["name"]
    steps = ["embed", "score", "score_2", "apply"]
    sections = {"score": {**first, "keep_fraction": 1.0},
                "score_2": {**second, "keep_fraction": 0.2}}  # fmt: skip
    winnow(mixed / "pool", tmp_path / "run", steps, **sections, **COLUMNS)
    result = weigh(tmp_path / "run", mixed / "held", ASKED)
    one = of_halves
    assert [term["name"] for term in result["terms"]] == ["head_1", "head_2"]
    for term, other in zip(result["terms"], one["terms"], strict=True):
        assert term["weight"] == other["weight"]
        assert term["given"] is None
    alone = [
        [(other["rows_differ"], other["auc_random"]) for other in told["against"]]
        for told in (result, one)
    ]
    # The run has no weights that were given; the rest is the same.
    assert alone[0] == alone[1][1:]
    with pytest.raises(ConfigError, match="`score_2` has one score, head; weights"):
        weigh(tmp_path / "run", mixed / "held", Weighing(step="score_2"))
    sections["score"]["keep_fraction"] = 0.9
    winnow(mixed / "pool", tmp_path / "cut", steps, **sections, **COLUMNS)
    with pytest.raises(ConfigError, match="`score_2` did not see 30 rows"):
        weigh(tmp_path / "cut", mixed / "held", ASKED)


def test_what_cannot_be_weighed_is_refused(
    mixed: Path, tmp_path: Path, winnow: Any, write_shards: Any
):
    held = mixed / "held"
    with pytest.raises(ConfigError, match="no score step 'scores'; did you mean 'sc"):
        weigh(mixed / "noise", held, Weighing(step="scores"))
    with pytest.raises(ConfigError, match="--seeds is 1"):
        weigh(mixed / "noise", held, Weighing(seeds=1))
    with pytest.raises(RunError):
        weigh(tmp_path / "nothing", held)
    winnow(mixed / "pool", tmp_path / "one", ["embed", "score", "apply"],
           score={"keep_fraction": 0.5}, **COLUMNS)  # fmt: skip
    with pytest.raises(ConfigError, match="`score` has one score, alignment"):
        weigh(tmp_path / "one", held)
    winnow(mixed / "pool", tmp_path / "none", ["embed", "random", "apply"],
           random={"keep_fraction": 0.5}, **COLUMNS)  # fmt: skip
    with pytest.raises(ConfigError, match="has no step `score`"):
        weigh(tmp_path / "none", held)
    terms = {"terms": [{"method": "alignment"}, head(tmp_path, "knows", {0: -1})]}
    winnow(mixed / "pool", tmp_path / "all", ["embed", "score", "apply"],
           score={**terms, "keep_fraction": 1.0}, **COLUMNS)  # fmt: skip
    with pytest.raises(ConfigError, match="keeps 300 of 300 rows"):
        weigh(tmp_path / "all", held)
    texts = {"terms": [head(tmp_path, n, {i: -1}) for i, n in enumerate("ab")]}
    winnow(mixed / "pool", tmp_path / "texts", ["embed", "score", "apply"],
           score={**texts, "keep_fraction": 0.5}, **COLUMNS,
           embed={"modalities": ["text"], "image_column": None})  # fmt: skip
    with pytest.raises(ConfigError, match="has vectors of one kind"):
        weigh(tmp_path / "texts", held)
    write_shards(tmp_path / "few", marked(60, 3))
    winnow(tmp_path / "few", tmp_path / "small", ["embed", "score", "apply"],
           score={**terms, "keep_fraction": 0.5}, **COLUMNS)  # fmt: skip
    with pytest.raises(InputError, match="60 rows have all scores"):
        weigh(tmp_path / "small", held)


def test_a_score_that_no_row_has_is_refused(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
):
    stored = RunView.artifact

    def without(view: RunView, step: str, name: str) -> Any:
        return stored(view, step, name).with_columns(noise=pl.lit(None, pl.Float64))

    monkeypatch.setattr(RunView, "artifact", without)
    with pytest.raises(InputError, match="no row has the score noise of `score`"):
        weigh(mixed / "noise", mixed / "held")
