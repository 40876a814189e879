"""The image-text flow: a recipe's steps checked against each other and the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.config.model import ModelConfig
from winnow.config.overrides import read as read_overrides
from winnow.config.run import RunConfig, kind_of
from winnow.config.step_kinds import APPLY, INDEX, OVERRIDES, STEPS, Step, step_of
from winnow.config.steps import ClusterConfig
from winnow.core.arrow_types import is_text, is_uuid
from winnow.core.errors import ConfigError, InputError
from winnow.core.extras import require
from winnow.core.words import number_of
from winnow.formats.captions import is_list_of_text
from winnow.formats.column_names import column_hint
from winnow.formats.reader import is_binary
from winnow.formats.shard_discovery import require_column
from winnow.models.checkpoint import require_weights
from winnow.models.local_model import LOCAL_DIR, check_folder
from winnow.steps.contract import Contract


@dataclass(frozen=True)
class Planned:
    """A step instance of a checked recipe."""

    name: str
    kind: str
    config: Any
    contract: Contract

    @property
    def step(self) -> Step:
        """The code that runs it."""
        return step_of(self.kind)


def ordered_steps(config: RunConfig) -> list[Planned]:
    """Return the steps to run, `index` first; overrides have the last word.

    Raises ConfigError if a step stands before what it needs or after `apply`, or if
    the file of overrides cannot be used; the input has not been looked at by then.
    """
    planned = [_planned(INDEX, config.input)]
    planned += [_planned(name, config.section(name)) for name in config.steps]
    if config.overrides is not None:
        last = planned[-1].kind == APPLY
        given = _planned(OVERRIDES, read_overrides(config.overrides))
        planned.insert(len(planned) - last, given)
    _check_order(planned)
    for step in planned:
        _check_model(step, config)
    return planned


def _planned(name: str, section: Any) -> Planned:
    kind = kind_of(name)
    return Planned(name, kind, section, step_of(kind).contract(section))


def require_models(config: RunConfig, steps: Sequence[Planned]) -> None:
    """Refuse models that a step could not load, before hours lead up to it.

    steps: those that will run; vectors that are there need no model. Raises
    MissingExtraError if this install runs none, ConfigError if its weights are neither
    here nor can be fetched; what can be is fetched.
    """
    for step in steps:
        model = _model_of(step, config)
        if model is not None:
            by_openvino = model.runtime == "openvino"
            extra = "cpu" if by_openvino else "images"
            require(extra, f"{step.name} by model {model.name}")
            try:
                require_weights(model.name, model.pretrained)
            except ConfigError as error:
                raise ConfigError(f"{step.name}: {error}") from error


#: What the recipe of the demo names, which sets its own model and pool.
_DEMO_MODEL = f"{LOCAL_DIR}model"
_DEMO_HINT = "; did you mean `winnow demo`? It makes the pool and brings the model"


def _model_of(step: Planned, config: RunConfig) -> ModelConfig | None:
    shared = config.model if "model" in step.contract.depends_on else None
    own_model: ModelConfig | None = getattr(step.config, "model", None)
    return own_model or shared


def _check_model(step: Planned, config: RunConfig) -> None:
    """Refuse a local model that is not whole before hours of work lead up to it."""
    model = _model_of(step, config)
    if model is not None and model.name.startswith(LOCAL_DIR):
        try:
            check_folder(Path(model.name.removeprefix(LOCAL_DIR)))
        except ConfigError as error:
            hint = _DEMO_HINT if model.name == _DEMO_MODEL else ""
            raise ConfigError(f"{step.name}: {error}{hint}") from error


def check_budgets(steps: Sequence[Planned], rows: int) -> None:
    """Raise ConfigError if a step is to keep more rows than can reach it.

    rows: of the pool. Only what every outcome has in common is known: no step adds a
    row, and after one with a budget at most that many are left.
    """
    left = rows
    for step in steps:
        count = getattr(step.config, "keep_count", None)
        if count is not None and count > left:
            raise ConfigError(
                f"{step.name}.keep_count: {count:,} rows are to be kept, and at most "
                f"{left:,} can reach this step; lower it, or give keep_fraction"
            )
        left = left if count is None else count


def doubts(steps: Sequence[Planned], rows: int) -> list[str]:
    """Return what a recipe asks for and cannot have, though it can run: in sentences.

    rows: of the pool.
    """
    clusters = (
        (s.name, s.config.k) for s in steps if isinstance(s.config, ClusterConfig)
    )
    return [
        f"{name}.k: {k:,} clusters are asked for, and the pool has "
        f"{number_of(rows, 'row')}: there will be at most so many"
        for name, k in clusters
        if isinstance(k, int) and k > rows
    ]


def check_columns(config: RunConfig, schema: pa.Schema, steps: list[Planned]) -> None:
    """Check that the shards have what the steps read.

    Raises ConfigError if a step needs a modality that the recipe says is absent, and
    InputError if the shards lack a column or hold another type in it.
    """
    columns = config.input.columns
    if columns.uid is not None:
        if columns.uid not in schema.names:
            raise InputError(
                f"input.columns.uid: the shards have no column '{columns.uid}'; "
                f"{column_hint(columns.uid, schema)} Set it to null to name "
                "rows by a hash of their content"
            )
        _check_uid(schema.field(columns.uid))
    elif not (columns.image or columns.text):
        raise ConfigError("input.columns: without uid, name image or text to hash")
    names = {"image": columns.image, "text": columns.text}
    for step in steps:
        for modality in sorted(step.contract.modalities):
            column = names[modality]
            if column is None:
                raise ConfigError(
                    f"{step.name} needs the {modality}, but input.columns.{modality} "
                    f"is null; name its column or remove '{step.name}' from steps"
                )
            field = require_column(schema, column, modality)
            (_check_image if modality == "image" else _check_text)(field)
        for column in step.contract.columns:
            if column not in schema.names:
                raise InputError(
                    f"{step.name}: the shards have no column '{column}'; "
                    + column_hint(column, schema)
                )
        for column in step.contract.vectors:
            _check_vectors(step.name, schema.field(column))
        if step.contract.fits is not None:
            step.contract.fits(schema)


def _check_uid(field: pa.Field) -> None:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    fine = (
        _is_string(kind)
        or is_binary(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or is_uuid(kind)
    )
    if not fine:
        raise InputError(
            f"input.columns.uid: the column '{field.name}' holds {kind}; a uid is a "
            "string, an integer, a decimal, bytes or a UUID. Set it to null to use a "
            "content hash"
        )


def _check_image(field: pa.Field) -> None:
    kind = field.type
    struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not (struct or is_binary(kind) or _is_string(kind)):
        raise InputError(
            f"input.columns.image: the column '{field.name}' holds {kind}; images are "
            "bytes, a struct of bytes and path, or paths relative to the shard"
        )


def _check_text(field: pa.Field) -> None:
    if not (_is_string(field.type) or is_list_of_text(field.type)):
        raise InputError(
            f"input.columns.text: the column '{field.name}' holds {field.type}, not "
            "strings; captions are strings, or lists of them (input.captions)"
        )


def _check_vectors(step: str, field: pa.Field) -> None:
    kind = field.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    fixed = pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if lists or fixed else kind
    if inner is kind or not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise InputError(
            f"{step}: the column '{field.name}' holds {kind}, not vectors; name a "
            "column of lists of numbers"
        )


def _is_string(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_string(kind.value_type)
    return is_text(kind)


def _provider(artifact: str) -> str:
    """Return which step a recipe lacks for an artifact, in words."""
    for name in STEPS.names():
        words = step_of(name).gives.get(artifact)
        if words:
            return words
    return f"a step that provides {artifact}"


def _check_order(steps: list[Planned]) -> None:
    provided: set[str] = set()
    for position, step in enumerate(steps):
        if position and steps[position - 1].kind == APPLY:
            raise ConfigError(
                f"steps: '{step.name}' stands after apply, which writes the result; "
                "put apply last"
            )
        for artifact in sorted(step.contract.needs - provided):
            later = [
                s.name for s in steps[position:] if artifact in s.contract.provides
            ]
            remedy = (
                f"move '{later[0]}' before it"
                if later
                else f"add {_provider(artifact)} before it"
            )
            raise ConfigError(
                f"steps: '{step.name}' needs {artifact.replace('_', ' ')}, and no "
                f"step before it gives them; {remedy}"
            )
        _check_text_is_whole(step, steps[:position])
        provided |= step.contract.provides


def _check_text_is_whole(step: Planned, before: list[Planned]) -> None:
    """Refuse to judge texts as they came where a step before has cut some."""
    cutting = [one.name for one in before if one.contract.cuts_text]
    if cutting and "text" in step.contract.modalities and step.kind != APPLY:
        raise ConfigError(
            f"steps: '{step.name}' reads texts as they came, and '{cutting[0]}' before "
            f"it cuts them; put '{cutting[0]}' after it, or run '{step.name}' on the "
            "folder `cut` that the run writes"
        )
