"""A recipe of any flow, given as a file, a name, values, or checked already."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from winnow.config.recipes import find, flow_of, load, override, read
from winnow.core.extensions import load_part

if TYPE_CHECKING:
    from winnow.config.filter_train import FilterTrainConfig
    from winnow.config.lake import LakeConfig
    from winnow.config.run import RunConfig

Config: TypeAlias = "RunConfig | LakeConfig | FilterTrainConfig"

# By name: a flow's models are built where a recipe is one of that flow.
_PARSERS = {
    "image_text": "winnow.config.run:parse",
    "table_lake": "winnow.config.lake:parse",
    "filter_train": "winnow.config.filter_train:parse",
}


def read_recipe(
    recipe: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str] = ()
) -> Config:
    """Return a checked recipe, overridden by `section.key=value`.

    Raises ConfigError for a recipe that is not there, a flow or a key that does not
    exist, or a value that cannot be.
    """
    if isinstance(recipe, str | Path):
        values = read(find(str(recipe)))
        if flow_of(values) not in _PARSERS:
            return load(recipe, overrides)  # which says what is wrong
    elif isinstance(recipe, Mapping):
        values = copy.deepcopy(dict(recipe))
    elif overrides:
        values = recipe.as_recipe()
    else:
        return recipe
    for setting in overrides:
        override(values, setting)
    parser = _PARSERS.get(flow_of(values), _PARSERS["image_text"])
    config: Config = load_part(parser)(values)
    return config
