"""Every method has a page, and the pages say what the code does by default."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from winnow.config.filter_steps import ScoreConfig
from winnow.config.lake import LakeConfig
from winnow.config.step_kinds import APPLY, INDEX, OVERRIDES, SCORES, STEPS
from winnow.core.extensions import load_part
from winnow.flows.communities import Growth

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in (ROOT / "docs/methods").glob("*.md") if p.stem != "README")
HEADINGS = [
    "What it computes",
    "Source",
    "Defaults",
    "Where it differs",
    "Tested against",
]
#: No methods: they make vectors, run what a user wrote, or write the result.
NO_METHOD = {INDEX, OVERRIDES, APPLY, "embed", "custom"}

#: Numbers that no row is decided by.
NO_LIMIT = {"seed"}

#: Methods that are commands, with what their options stand for.
COMMANDS: dict[str, Any] = {"communities": Growth}


def named(word: str, text: str) -> set[str]:
    """Return what the page's line `word:` names."""
    lines = re.findall(rf"^{word}: (.*)$", text, re.M)
    return {name for line in lines for name in re.findall(r"`(\w+)`", line)}


def rows_of(text: str) -> list[tuple[str, Any]]:
    """Return (setting, default) of the page's table of defaults."""
    part = text.split("## Defaults")[1].split("##", maxsplit=1)[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if "`" in line[:4]]
    return [(row[0].strip(" `"), yaml.safe_load(row[1])) for row in rows]


def sections(text: str) -> list[type[BaseModel]]:
    """Return the models whose settings a page tells of."""
    models = []
    for name in sorted(named("Section", text)):
        step = STEPS.get(name)
        assert step is not None
        models.append(load_part(step.section))
    if named("Score", text) and not models:
        models.append(ScoreConfig)
    models += [COMMANDS[name] for name in named("Command", text)]
    return models or [LakeConfig]


def default(model: type[BaseModel], setting: str) -> Any:
    """Return a setting's default as plain values; dots lead into a section."""
    value: Any = None
    if is_dataclass(model):
        return {f.name: f.default for f in fields(model)}[setting]
    for name in setting.split("."):
        if model.model_fields[name].is_required():
            return "required"
        value = model.model_fields[name].get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            model = type(value)
    return plain(value)


def plain(value: Any) -> Any:
    return [plain(part) for part in value] if isinstance(value, tuple) else value


def is_limit(value: Any) -> bool:
    """Whether a default is a number, or pairs of a number and a limit."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, list) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def names_in(model: Any) -> set[str]:
    """Return the settings that a model, or a command's dataclass, has."""
    if is_dataclass(model):
        return {f.name for f in fields(model)}
    return set(model.model_fields)


def test_every_step_and_every_score_has_a_page():
    texts = [page.read_text() for page in PAGES]
    own_steps = {n for n in STEPS.names() if STEPS.get(n).module.startswith("winnow.")}
    assert {n for t in texts for n in named("Section", t)} == own_steps - NO_METHOD
    assert {n for t in texts for n in named("Score", t)} >= set(SCORES._own)


def test_every_page_is_in_the_list():
    listed = (ROOT / "docs/methods/README.md").read_text()
    assert sorted(set(re.findall(r"\((\w+\.md)\)", listed))) == [p.name for p in PAGES]


def test_every_limit_of_a_step_stands_on_its_page():
    """What a step decides by, beside the source's: none is left out of the tables."""
    told: dict[type[BaseModel], set[str]] = {}
    for text in (page.read_text() for page in PAGES):
        for model in sections(text):
            named_there = {setting.split(".")[0] for setting, _ in rows_of(text)}
            told.setdefault(model, set()).update(named_there)
    for model, settings in told.items():
        limits = {s for s in names_in(model) if is_limit(default(model, s))}
        assert limits - settings <= NO_LIMIT, model


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_true_to_the_code(page: Path):
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.M) == HEADINGS
    files = re.findall(r"`(tests/[\w/]+\.py)`", text.split("## Tested against")[1])
    assert files
    assert [f for f in files if not (ROOT / f).is_file()] == []
    models = sections(text)
    rows = rows_of(text)
    assert rows
    for setting, told in rows:
        holding = [m for m in models if setting.split(".")[0] in names_in(m)]
        assert holding, setting
        assert told == default(holding[0], setting), setting
