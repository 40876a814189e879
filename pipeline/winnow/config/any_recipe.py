"""A recipe of any flow, given as a file, a name, values, or checked already."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from winnow.config import filter_train, lake, run
from winnow.config.filter_train import FilterTrainConfig
from winnow.config.lake import LakeConfig
from winnow.config.recipes import find, flow_of, load, override, read
from winnow.config.run import RunConfig

Config = RunConfig | LakeConfig | FilterTrainConfig

_PARSERS: dict[str, Callable[[Mapping[str, Any]], Config]] = {
    "image_text": run.parse,
    "table_lake": lake.parse,
    "filter_train": filter_train.parse,
}


def read_recipe(
    recipe: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str] = ()
) -> Config:
    """Return a checked recipe, overridden by `section.key=value`.

    Raises ConfigError for a recipe that is not there, a flow or a key that does not
    exist, or a value that cannot be.
    """
    if isinstance(recipe, Config):
        if not overrides:
            return recipe
        values = recipe.as_recipe()
    elif isinstance(recipe, str | Path):
        values = read(find(str(recipe)))
        if flow_of(values) not in _PARSERS:
            return load(recipe, overrides)  # which says what is wrong
    else:
        values = copy.deepcopy(dict(recipe))
    for setting in overrides:
        override(values, setting)
    return _PARSERS.get(flow_of(values), run.parse)(values)
