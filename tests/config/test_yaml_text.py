"""Whatever a recipe or a setting says, it is taken or refused in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.config import filter_train, lake, overrides
from winnow.config.recipes import load, read
from winnow.config.run import parse
from winnow.config.yaml_text import parse_yaml
from winnow.core.errors import ConfigError

HOSTILE = [
    "2024-13-45",
    '!!int ""',
    '!!float "x"',
    '!!timestamp "x"',
    '!!binary "%"',
    "[" * 700,
    "{a: " * 700,
    "- " * 700,
    "&a [*a]",
    "&a {b: *a}",
    "*a",
    "!!python/object/apply:os.system [ls]",
    "{1: 2, 1: 3}",
    "{[a]: b}",
    "\x00",
    "\t- a",
    "a: b: c",
    "? !!set {}",
    "<<: 3",
    "&l [&a [x,x,x,x,x,x,x,x,x], " + ", ".join(f"&a{i} [*a,*a,*a]" for i in range(5)),
]
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_yaml_is_one_sentence(text: str):
    with pytest.raises(ConfigError, match=r"seed") as refused:
        load("text_dedup", ["input.path=x", f"seed={text}"])
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)


def test_a_billion_values_are_not_written_out(tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text(LAUGHS)
    with pytest.raises(ConfigError, match=r"recipe\.yaml: more than 1,000,000 values"):
        read(file)
    file.write_text("- uid: a\n  action: &l [x]\n  note: [*l, *l]\n")
    with pytest.raises(ConfigError, match="is a text"):
        overrides.read(file)


def test_an_alias_is_a_value_of_its_own():
    value = parse_yaml("a: &x {b: 1}\nc: *x\n")
    value["a"]["b"] = 2
    assert value["c"] == {"b": 1}


@given(
    text=st.text(max_size=40) | st.text("[]{}:,&*!|>-?#'\"\\ \n\tab0.~%@`", max_size=30)
)
def test_any_text_is_yaml_or_a_config_error(text: str):
    with contextlib.suppress(ConfigError):
        load("text_dedup", ["input.path=x", f"minhash={text}"])


SAMPLES = {"input": {"path": "x"}, "steps": ["semantic"]}
LAKE = {"flow": "table_lake", "input": {"path": "x"}}
FILTER = {"flow": "filter_train", "data": [{"path": "x"}]}


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf"), 10**400])
@pytest.mark.parametrize(
    ("check", "recipe", "section", "key"),
    [
        (parse, SAMPLES, "semantic", "epsilon"),
        (parse, SAMPLES, "model", "batch_size"),
        (parse, SAMPLES, "engine", "group_mb"),
        (parse, SAMPLES, "engine", "spark"),
        (lake.parse, LAKE, "plan", "accesses"),
        (lake.parse, LAKE, "plan", "max_latency"),
        (lake.parse, LAKE, "plan", "accesses_of"),
        (lake.parse, LAKE, "rebuild", "search_mb"),
        (filter_train.parse, FILTER, "optimise", "learning_rate"),
        (filter_train.parse, FILTER, "optimise", "epochs"),
        (filter_train.parse, FILTER, "model", "preprocessing"),
    ],
)
def test_no_setting_is_infinite(
    check: Callable[..., object], recipe: dict, section: str, key: str, value: float
):
    nested = {"a": value} if key in ("spark", "accesses_of", "preprocessing") else value
    with pytest.raises(ConfigError, match=rf"{section}\.{key}"):
        check({**recipe, section: {key: nested}})


def test_an_infinite_penalty_means_drawn_once():
    recipe = {
        "input": {"path": "x"},
        "steps": ["score", "soft_cap"],
        "score": {"keep_fraction": 1.0},
        "soft_cap": {"total": 3, "penalty": float("inf")},
    }
    assert parse(recipe).section("soft_cap").penalty == float("inf")
    recipe["soft_cap"]["penalty"] = float("nan")
    with pytest.raises(ConfigError, match="penalty"):
        parse(recipe)


@pytest.mark.parametrize("name", ["semantic_2", "rules", "semantic_17"])
def test_a_section_that_no_step_takes_is_refused(name: str):
    with pytest.raises(ConfigError, match=rf"^{name}: no step takes this section"):
        parse({**SAMPLES, name: {}})


def test_a_key_that_is_misspelt_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'epsilon'"):
        parse({**SAMPLES, "semantic_2": {"epsilom": 0.5}, "steps": ["semantic"] * 2})
    with pytest.raises(ConfigError, match="did you mean 'semantic'"):
        parse({**SAMPLES, "semantik": {}})


def test_steps_taken_out_on_the_command_line_take_their_sections_along():
    config = load("image_text", ["input.path=x", "steps=[exact, apply]"])
    assert config.steps == ("exact", "apply")
    with pytest.raises(ConfigError, match="semantic: no step takes"):
        load("image_text", ["input.path=x", "steps=[exact]", "semantic.epsilon=0.1"])


@pytest.mark.parametrize("section", ["output", "engine", "input"])
def test_a_section_that_is_none_is_named(tmp_path: Path, section: str):
    file = tmp_path / "r.yaml"
    file.write_text(f"input: {{path: x}}\nsteps: [exact]\n{section}: [1]\n")
    with pytest.raises(ConfigError, match=section):
        load(file, out="x", engine="local")
