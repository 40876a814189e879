"""Comparing filters: the command, the downstream proxy, the pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from winnow.cli.main import main
from winnow.config.filter_train import parse
from winnow.core.errors import ConfigError
from winnow.filters.judge.compare import compare
from winnow.filters.judge.downstream import Proxy
from winnow.filters.judge.selections import Choosing

from tests.trusted_pool import recipe, trusted_table, write_pool

Write = Callable[..., Path]


@pytest.mark.slow
def test_the_command_writes_what_filters_keep_and_where_they_differ(
    demo_model: str,
    other_model: str,
    hostile_pool: Path,
    scene_pool: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    models = [demo_model, other_model]
    out = tmp_path / "out"
    command = ["filter", "compare", *models, "--pool", str(hostile_pool)]
    rest = ["--budget", "0.5", "--eval", str(scene_pool), "--out", str(out)]
    assert main([*command, *rest, "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert comparison == json.loads((out / "compare.json").read_text())
    good, bad = comparison["models"]
    assert (good["model"], bad["model"]) == ("model", "untrained")
    assert good["auc_random"] > bad["auc_random"] + 0.1
    assert comparison["kept"] == 30
    assert {(row["one"], row["other"]) for row in comparison["agreement"]} == {
        ("model", "untrained"),
        ("model", "random"),
        ("untrained", "random"),
    }
    one, other = comparison["domains"]
    assert one["domains"][0]["auc_random"] > 0.9 > other["domains"][0]["auc_random"]
    chosen = {
        name: set((out / "selected" / f"{name}.txt").read_text().split())
        for name in ("model", "untrained", "random")
    }
    assert {len(uids) for uids in chosen.values()} == {30}
    both = len(chosen["model"] & chosen["untrained"])
    assert both == comparison["agreement"][0]["both"]
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert "Kept by model, dropped by untrained" in page
    assert page.count('src="data:image/webp') >= 10
    assert main([*command, "--budget", "0.5"]) == 0
    told = capsys.readouterr().out
    assert "model and untrained" in told


def test_the_page_of_an_evaluation_shows_its_figures_and_escapes_captions(
    demo_model: str, hostile_pool: Path, tmp_path: Path
):
    out = tmp_path / "out"
    command = ["filter", "eval", demo_model, str(hostile_pool), "--out", str(out)]
    train = ["--train", str(hostile_pool), "--caption-groups", "1"]
    assert main([*command, *train]) == 0
    comparison = json.loads((out / "eval.json").read_text())
    assert not comparison["leakage"][0]["clean"]
    assert comparison["leakage"][0]["leaked"] == 60
    page = (out / "report.html").read_text()
    assert "<script" not in page
    for figure in (
        comparison["auc_random"],
        comparison["auc_hard"],
        comparison["calibration"]["ece"],
    ):
        assert f"{figure:.3f}" in page
    assert "Leaked images" in page
    assert page.count("<svg") >= 3


@pytest.fixture(scope="module")
def trained(demo_model: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a comparison whose proxy trains on 24 of 48 rows, half of them wrong."""
    folder = tmp_path_factory.mktemp("proxy")
    table = trusted_table(48, captions=1)
    captions = table["captions"].to_pylist()
    wrong = [*captions[1:24], captions[0], *captions[24:]]
    table = table.set_column(2, "captions", pa.array(wrong, table["captions"].type))
    pool = write_pool(folder / "pool", table)
    # A row that says what a held-out one says would not be trained on.
    asked = trusted_table(40, seed=1)
    said = [
        [f"{text} again" for text in texts] for texts in asked["captions"].to_pylist()
    ]
    asked = asked.set_column(2, "captions", pa.array(said, asked["captions"].type))
    held = write_pool(folder / "held", asked)
    plan = parse(recipe(pool, folder / "unused", epochs=2))
    proxy = Proxy(plan, str(held), folder / "trained", seeds=2)
    comparison = compare([demo_model], str(pool), Choosing(0.5), proxy=proxy)
    return comparison, proxy, pool


def test_all_selections_train_as_long_on_as_many_rows(trained: Any):
    (result, comparison), proxy, _ = trained
    made = result["downstream"]
    assert [row["selection"] for row in made["selections"]] == ["model", "random"]
    assert {row["trained_on"] for row in made["selections"]} == {24}
    assert len({row["steps"] for row in made["selections"]}) == 1
    assert made["held_out_images"] == 40
    for selection in comparison.each:
        kept = {
            u for u, k in zip(comparison.data.uids, selection.keep, strict=True) if k
        }
        for seed in range(2):
            folder = proxy.out / selection.name / f"seed-{seed}"
            manifest = json.loads((folder / "manifest.json").read_text())
            assert manifest["recipe"]["seed"] == seed
        without = set((folder.parent / "not_selected.txt").read_text().split())
        if selection is comparison.control:  # another draw with each seed
            assert len(without) == 24
            assert without != set(comparison.data.uids) - kept
        else:
            assert without == set(comparison.data.uids) - kept


def test_differences_are_paired_by_seed_with_intervals(trained: Any):
    (result, _), _, _ = trained
    made = result["downstream"]
    model_rows, chance = (row["by_seed"] for row in made["selections"])
    gap = made["against_random"][0]
    for name in ("auc_random", "recall_at_5"):
        expected = [a[name] - b[name] for a, b in zip(model_rows, chance, strict=True)]
        assert gap[name]["by_seed"] == pytest.approx(expected)
        assert gap[name]["mean"] == pytest.approx(np.mean(expected))
        assert gap[name]["low"] <= gap[name]["mean"] <= gap[name]["high"]
        assert gap[name]["better"] == (gap[name]["low"] > 0)


def test_a_held_out_row_in_the_pool_is_refused(
    demo_model: str, trained: Any, tmp_path: Path
):
    _, proxy, pool = trained
    leaky = Proxy(proxy.recipe, str(pool), tmp_path, seeds=1)
    with pytest.raises(ConfigError, match="48 of its uids stand in the pool"):
        compare([demo_model], str(pool), Choosing(0.5), proxy=leaky)


def test_a_proxy_needs_a_folder_and_a_seed(
    demo_model: str, trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _, proxy, pool = trained
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(proxy.recipe.as_recipe()))
    command = ["filter", "compare", demo_model, "--pool", str(pool), "--budget", "0.5"]
    rest = ["--downstream", proxy.held_out, "--recipe", str(file)]
    assert main([*command, *rest]) == 2
    assert "--out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command, *rest, "--out", str(tmp_path), "--seeds", "0"])
    assert "--seeds" in capsys.readouterr().err
