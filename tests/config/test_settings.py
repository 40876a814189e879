"""Settings given as values come through as the recipe would hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from winnow.config.any_recipe import read_recipe
from winnow.config.recipes import settings
from winnow.config.settings import as_overrides
from winnow.core.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"a.b": 1e-05}, {"a": {"b": 1e-05}}),
        ({"a": {"b": float("inf"), "c": None}}, {"a": {"b": float("inf"), "c": None}}),
        ({"a.b": "1"}, {"a": {"b": "1"}}),
        ({"a.b": "null"}, {"a": {"b": "null"}}),
        ({"a.b": "x: [y"}, {"a": {"b": "x: [y"}}),
        ({"a.b": "line\nand # more"}, {"a": {"b": "line\nand # more"}}),
        ({"a.b": "word " * 60}, {"a": {"b": "word " * 60}}),
        ({"a": ("x", "y")}, {"a": ["x", "y"]}),
        ({"a.b": []}, {"a": {"b": []}}),
        ({"a.b": {}}, {"a": {"b": {}}}),
        ({"a.b": Path("x/y")}, {"a": {"b": "x/y"}}),
        ({"a.b": np.float32(0.5)}, {"a": {"b": 0.5}}),
        ({"a": {"spark.x.y": "4g"}}, {"a": {"spark.x.y": "4g"}}),
        (None, {}),
    ],
)
def test_values_come_through(given: Any, read: Any):
    assert settings(as_overrides(given)) == read


def test_a_section_changes_the_named_keys_alone():
    recipe = {
        "input": {"path": "p"},
        "steps": ["embed", "score"],
        "score": {"keep_fraction": 0.5, "of": "pool"},
        "output": {"path": "r"},
    }
    changed = read_recipe(recipe, as_overrides({"score": {"keep_fraction": 0.25}}))
    assert changed.as_recipe()["score"]["of"] == "pool"
    assert float(changed.as_recipe()["score"]["keep_fraction"]) == 0.25
    assert recipe["score"]["keep_fraction"] == 0.5
    again = read_recipe(changed, as_overrides({"seed": 3}))
    assert again.as_recipe() == {**changed.as_recipe(), "seed": 3}


def test_what_a_recipe_cannot_hold_is_named():
    with pytest.raises(ConfigError, match=r"a\.b: a recipe cannot hold a object"):
        as_overrides({"a": {"b": object()}})
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        read_recipe("image_text", as_overrides({"sede": 1}))
