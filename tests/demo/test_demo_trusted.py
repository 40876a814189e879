"""The pool and the recipe that `winnow filter train` makes the demo's CLIP from."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import yaml
from winnow.config.filter_train import parse
from winnow.demo import MODEL_FOLDER
from winnow.demo.pool import make_pool
from winnow.demo.trusted import SCHEMA, write_trusted
from winnow.filters.train.build import open_clip_config


def test_the_trusted_pool_follows_from_its_arguments(tmp_path):
    write_trusted(tmp_path / "one", scenes=12, captions=3, shard_rows=5)
    write_trusted(tmp_path / "two", scenes=12, captions=3, shard_rows=12)
    one, two = pq.read_table(tmp_path / "one"), pq.read_table(tmp_path / "two")
    assert one.schema == SCHEMA
    assert one.equals(two)
    assert len(set(one["uid"].to_pylist())) == 12
    assert all(len(said) == 3 for said in one["captions"].to_pylist())
    assert len(list((tmp_path / "one").glob("*.parquet"))) == 3


def test_no_pool_of_the_demo_holds_a_trusted_image(tmp_path):
    write_trusted(tmp_path / "trusted", scenes=50)
    make_pool(tmp_path / "pool", rows=200)
    trusted = pq.read_table(tmp_path / "trusted")["image"].to_pylist()
    pool = pq.read_table(tmp_path / "pool/shards")["image"].to_pylist()
    assert not set(trusted) & set(pool)


def test_the_recipe_makes_what_the_package_holds():
    recipe = parse(yaml.safe_load((MODEL_FOLDER / "filter_train.yaml").read_text()))
    made = open_clip_config(
        recipe.model.architecture, recipe.model.preprocessing, "clip"
    )
    packaged = json.loads((MODEL_FOLDER / "open_clip_config.json").read_text())
    assert made["model_cfg"] == packaged["model_cfg"]
    named = packaged["preprocess_cfg"]
    assert {key: made["preprocess_cfg"][key] for key in named} == named
