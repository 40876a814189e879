"""A pool with wrong captions makes a worse filter, and the command says how much."""

from __future__ import annotations

import contextlib
import io
import json

import pyarrow.parquet as pq
import pytest
import yaml
from winnow.cli import main as cli
from winnow.filters.judge.purity import Level, Purity, tell_purity

from tests.trusted_pool import recipe, trusted_table, write_pool


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("purity")
    pool = write_pool(folder / "pool", trusted_table(160))
    file = folder / "recipe.yaml"
    wanted = recipe(pool, folder / "out", epochs=8, learning_rate=1e-2)
    wanted["model"]["freeze"] = ["visual"]
    file.write_text(yaml.safe_dump(wanted))
    arguments = ["filter", "purity", str(file), "--levels", "0,1", "--seeds", "2"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main([*arguments, "--json"]) == 0
    return folder, arguments, json.loads(printed.getvalue())


def test_auc_falls_to_chance_when_all_captions_are_wrong(measured):
    folder, _, purity = measured
    pure, wrong = purity["levels"]
    assert (pure["purity"], wrong["purity"]) == (1.0, 0.0)
    assert pure["mean"] > 0.75
    assert wrong["mean"] < 0.65
    assert len(pure["aucs"]) == 2
    assert purity["monotone"]
    page = (folder / "out" / "purity.html").read_text()
    assert f"{pure['mean']:.4f}" in page
    assert "<svg" in page
    # One pass over the images for each seed (whose random tower is frozen), not level.
    caches = list((folder / "out" / "cache").iterdir())
    assert len(caches) == 2


def test_again_it_only_reads_and_tells_a_table(measured, capsys):
    folder, arguments, _ = measured
    before = [f.stat().st_mtime_ns for f in sorted(folder.rglob("*.safetensors"))]
    assert cli.main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[0] == "100%"
    assert "trained before" in told.err
    after = [f.stat().st_mtime_ns for f in sorted(folder.rglob("*.safetensors"))]
    assert before == after
    curve = folder / "out" / "purity-100-seed-3" / "curves.parquet"
    assert len(pq.read_table(curve)) == 8


def test_of_one_level_it_says_nothing_about_a_fall(tmp_path):
    levels = (Level(1.0, (0.8, 0.9), 0.85, 0.07), Level(0.5, (0.7, 0.8), 0.75, 0.07))
    assert "falls" in tell_purity(Purity(tmp_path, levels, True)).splitlines()[-1]
    assert "falls" not in tell_purity(Purity(tmp_path, levels[:1], True))


@pytest.mark.parametrize("levels", ["2", "a,b", "-1,1"])
def test_levels_are_shares(measured, capsys, levels):
    _, arguments, _ = measured
    assert cli.main([*arguments, f"--levels={levels}"]) == 2
    assert "--levels" in capsys.readouterr().err
