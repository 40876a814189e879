"""The recipe of an analysis: the shipped recipe that fits a pool, applying nothing.

A look at a pool before anything is pruned is a run of the steps that would prune it,
without `apply`: what each would take stands in the ledger, as for any run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.config.recipes import find, override, read
from winnow.config.run import parse
from winnow.config.step_kinds import APPLY
from winnow.core.arrow_types import is_text
from winnow.core.errors import ConfigError
from winnow.flows.pool import open_pool
from winnow.formats.captions import is_list_of_text
from winnow.formats.column_names import guessed
from winnow.models.local_model import LOCAL_DIR

#: Rows that an analysis looks at, unless it is told otherwise.
SAMPLE = 10_000
#: The step that draws them, where the pool has more.
DRAWING = "random"

_PICTURES = ("perceptual_hash", "image_quality")
_MEANING = ("embed", "cluster", "semantic")


def analysis_recipe(
    path: Any,
    *,
    sample: int | None = SAMPLE,
    model: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the recipe that analyses the pool at `path`, as plain values.

    sample: rows that are looked at, drawn by uid hash. None: all.
    model: an open_clip architecture, or a folder of a local model; without any, nothing
    is embedded.
    overrides: settings, `section.key=value`; columns that they name are not guessed.

    Raises ConfigError if neither image nor text can be told, InputError for no pool.
    """
    given: dict[str, Any] = {"input": {"path": path}}
    for setting in overrides:
        if setting.partition(".")[0] in ("input", "engine"):
            override(given, setting)
    named = given["input"].pop("columns", None) or {}
    pool = open_pool(parse({**given, "steps": [APPLY]}))
    columns = {**_columns(pool.schema), **named}
    recipe = _fitting(columns, model)
    steps = recipe["steps"]
    if sample is not None and pool.rows > sample:
        recipe["steps"] = [DRAWING, *steps]
        recipe[DRAWING] = {"keep_count": sample}
    # What cannot be read is a finding, however much it is.
    recipe["input"] = {**given["input"], "columns": columns, "max_quarantined": 1.0}
    recipe["output"] = {"report": False}
    for setting in overrides:
        override(recipe, setting)
    return recipe


def _columns(schema: pa.Schema) -> dict[str, str | None]:
    """Return what columns seem to hold uid, image and text, by their names."""
    fields = {field.name: field.type for field in schema}
    pictured = [n for n, kind in fields.items() if _may_be_image(kind)]
    texts = [n for n, kind in fields.items() if is_text(kind) or is_list_of_text(kind)]
    image = guessed("image", pictured)
    if image is None and len(binary := _binary(fields)) == 1:
        image = binary[0]
    return {
        "uid": guessed("uid", fields),
        "image": image,
        "text": guessed("text", texts),
    }


def _may_be_image(kind: pa.DataType) -> bool:
    struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return struct or _is_binary(kind) or is_text(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _binary(fields: Mapping[str, pa.DataType]) -> list[str]:
    return [name for name, kind in fields.items() if _is_binary(kind)]


def _fitting(columns: Mapping[str, str | None], model: str | None) -> dict[str, Any]:
    """Return the shipped recipe for what a pool has, its steps chosen anew.

    What is looked at beside the recipe's own steps comes after those that need no
    budget: these take what they would take without it.
    """
    meaning = _MEANING if model else ()
    budgets = ("score", "cluster", "complexity") if model else ()
    if columns["image"] and columns["text"]:
        steps = ("exact", "rules", *meaning, *_PICTURES, *budgets)
        return _shipped("image_text", steps, model)
    if columns["image"]:
        recipe = _shipped("photo_audit", ("exact", *meaning, *_PICTURES), model)
        return {**recipe, **_only("image", model)}
    if columns["text"]:
        steps = ("exact", "minhash", *meaning, "quality")
        return {**_shipped("text_dedup", steps, model), **_only("text", model)}
    raise ConfigError(
        "no column of the pool seems to hold images or texts; name it with "
        "--set input.columns.text=COLUMN or --set input.columns.image=COLUMN"
    )


def _only(modality: str, model: str | None) -> dict[str, Any]:
    if model is None:
        return {}
    by = {"modality": modality}
    return {"embed": {"modalities": [modality]}, "cluster": by, "semantic": by}


def _shipped(name: str, steps: Iterable[str], model: str | None) -> dict[str, Any]:
    recipe = read(find(name))
    override(recipe, f"steps=[{', '.join(steps)}]")
    if model is not None:
        theirs = recipe.get("model") or {}
        folder = Path(model)
        local = folder.is_dir() and not model.startswith(LOCAL_DIR)
        chosen = f"{LOCAL_DIR}{folder.resolve()}" if local else model
        same = chosen == theirs.get("name")
        recipe["model"] = theirs if same else {"name": chosen}
    return recipe
