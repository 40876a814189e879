"""A classifier of clean against raw pairs tells styles apart, not matches."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from winnow.cli import main as cli

from tests.trusted_pool import recipe, trusted_table, write_pool


@pytest.fixture(scope="module")
def setting(tmp_path_factory, demo_model):
    folder = tmp_path_factory.mktemp("classifier")
    clean = trusted_table(80, seed=1)
    raw = trusted_table(80, seed=2, captions=1)
    images = raw["image"].to_pylist()
    images[4] = b"broken"
    raw = raw.set_column(1, "image", pa.array(images, pa.binary()))
    wanted = recipe(write_pool(folder / "clean", clean), folder / "out")
    wanted["kind"] = "classifier"
    wanted["model"] = {"architecture": demo_model, "frozen_precision": "float32"}
    # What the raw pool says is not what its pictures show.
    wanted["raw"] = [
        {"path": str(write_pool(folder / "raw", raw)), "columns": {"text": "uid"},
         "hold_out": {"fraction": 0.25}}
    ]  # fmt: skip
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(wanted))
    return folder, file


@pytest.fixture(scope="module")
def demo_model():
    from winnow.demo import MODEL_FOLDER

    return f"local-dir:{MODEL_FOLDER}"


def test_it_tells_clean_from_raw_but_not_right_from_wrong(setting, capsys):
    folder, file = setting
    arguments = ["filter", "train", str(file), "--json"]
    assert cli.main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["auc"] > 0.9
    assert abs(told["auc_random"] - 0.5) < 0.1
    assert told["clean"] == 60
    assert told["raw"] in (59, 60)
    assert sum(told["left_out"].values()) == 1
    scores = pq.read_table(folder / "out" / "scores.parquet")
    assert len(scores) == 79
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert len(manifest["encoder"]["weights_sha256"]) == 64


def test_without_a_raw_pool_it_says_so(setting, capsys):
    _, file = setting
    assert cli.main(["filter", "train", str(file), "--set", "raw=[]"]) == 2
    assert "needs a raw pool" in capsys.readouterr().err
