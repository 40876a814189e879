"""The keys of recipes as people and editors are told them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from winnow.config.keys import FLOWS, recipe_keys, recipe_schema, schema_text
from winnow.config.recipes import copy_shipped, shipped
from winnow.config.step_kinds import sections
from winnow.core.errors import ConfigError

SHIPPED = next(iter(shipped().values())).parent / "recipe.schema.json"


@pytest.fixture(scope="module")
def check() -> Any:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_shipped_schema_is_what_the_models_say():
    told = "winnow schema --json-schema > conf/recipe.schema.json makes it again"
    assert SHIPPED.read_text(encoding="utf-8") == schema_text(), told


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_are_of_the_schema(name: str, check: Any):
    values = yaml.safe_load(shipped()[name].read_text(encoding="utf-8"))
    # As the parser of JSON sees it, which has no dates.
    faults = list(check.iter_errors(json.loads(json.dumps(values, default=str))))
    assert [fault.message for fault in faults] == []


@pytest.mark.parametrize(
    "recipe",
    [
        {"input": {"path": "p"}, "steps": ["apply"], "semantik": {}},
        {"input": {"path": "p"}, "steps": ["apply"], "semantic": {"epsilonn": 0.1}},
        {"input": {"path": "p"}, "steps": ["apply"], "cluster_2": {"k": -1}},
        {"steps": ["apply"]},
        {"flow": "table_lake", "input": {"path": "p"}, "steps": ["apply"]},
    ],
)
def test_the_schema_refuses_what_winnow_refuses(recipe: dict, check: Any):
    assert list(check.iter_errors(recipe))


def test_every_section_and_flow_has_its_keys():
    keys = recipe_keys()
    assert {key.flow for key in keys} == set(FLOWS)
    told = {key.section for key in keys}
    assert {"", "input", "input.columns", "model", "engine", "output"} <= told
    without = {kind for kind in sections() if kind not in told}
    assert without <= {"apply"}


def test_a_key_says_type_default_and_meaning():
    (key,) = [key for key in recipe_keys("input") if key.name == "max_quarantined"]
    assert (key.type, key.default) == ("number", "0.5")
    assert key.meaning.startswith("Share of the pool that may end in quarantine")


def test_an_unknown_section_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'semantic'"):
        recipe_keys("semantik")


def test_copied_recipes_name_a_schema_that_is_there(tmp_path: Path):
    for copy in copy_shipped(tmp_path / "mine"):
        first = copy.read_text(encoding="utf-8").splitlines()[0]
        if copy.parent.name == "engine":
            continue
        assert first.startswith("# yaml-language-server: $schema=")
        assert (copy.parent / first.rpartition("=")[2]).is_file()
