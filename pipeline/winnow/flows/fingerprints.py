"""Fingerprints: a step is done if what decides it is as it was.

That is its settings, its input and all steps before it, its own version, and the
versions of the libraries that compute what it stores. Where a run lies, its engine, its
threads, and the source as such are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from winnow.config.file_names import from_anywhere
from winnow.config.model import ModelConfig
from winnow.config.overrides import Overrides
from winnow.config.run import RunConfig
from winnow.config.step_kinds import INDEX, OVERRIDES
from winnow.core.hashing import fingerprint
from winnow.core.versions import releases
from winnow.flows.image_text import Planned
from winnow.flows.overrides import overrides_of
from winnow.flows.pool import Pool
from winnow.formats.shard_discovery import Shard
from winnow.models.checkpoint import local_files
from winnow.models.local_model import LOCAL_DIR
from winnow.models.openvino_runtime import LIBRARIES
from winnow.models.preprocess import INEXACT

_SECTIONLESS = (INDEX, OVERRIDES)
#: Settings of a model that change no vector.
_NOT_DECIDING = {"decode_threads"}


@dataclass(frozen=True)
class Prints:
    """What a step's results are known by.

    step: equal where the results are. reuse: equal where work on the same pool may be
    taken over in part, '' if none may. content: the same whatever the pool, for work
    that is known by the samples' contents.
    """

    step: str
    reuse: str = ""
    content: str = ""


def of_steps(planned: Sequence[Planned], config: RunConfig, pool: Pool) -> list[Prints]:
    """Return the fingerprints of a run's steps, in order."""
    overrides = overrides_of(planned)
    source = upstream = of_input(config, pool.shards)
    prints = []
    for step in planned:
        reuse, content = _of_reuse(step, config, pool, (source, upstream))
        upstream = _of_step(step, config, pool, upstream)
        prints.append(Prints(_overridden(step, upstream, overrides), reuse, content))
    return prints


def of_input(config: RunConfig, shards: Sequence[Shard]) -> str:
    """Return the fingerprint of the pool and of what its columns mean."""
    rule = config.input.captions
    return _digest(
        [
            config.input.columns.model_dump(mode="json"),
            # The usual one is left out, as it was before there were others.
            *([rule] if rule != "first" else []),
            config.input.on_duplicate_uid,
            [(shard.name, shard.fingerprint) for shard in shards],
        ]
    )


def _of_step(planned: Planned, config: RunConfig, pool: Pool, upstream: str) -> str:
    """Return the fingerprint of a step that follows `upstream`."""
    return _digest(
        [
            upstream,
            planned.name,
            _plain(planned.config) if planned.name not in _SECTIONLESS else None,
            _decided_by(planned, config),
            planned.contract.version,
            _image_files(planned, pool),
        ]
    )


def _overridden(planned: Planned, plain: str, overrides: Overrides) -> str:
    """Return the fingerprint of what a step has on disk: `_of_step`'s, and overrides.

    Overrides change no step's work, only what its ledger says of the rescued rows.
    """
    if planned.kind == OVERRIDES:
        return _digest([plain, [vars(row) for row in overrides.rows]])
    rescued = overrides.fingerprint("rescue")
    return _digest([plain, rescued]) if planned.contract.decides and rescued else plain


def _of_reuse(
    planned: Planned, config: RunConfig, pool: Pool, before: tuple[str, str]
) -> tuple[str, str]:
    """Return the keys under which a step's artifacts still hold in part, or ''."""
    reuse = planned.step.reuse(planned.config)
    if reuse is None:
        return "", ""
    source, upstream = before
    what = [planned.kind, reuse.settings, _decided_by(planned, config)]
    of_rows = upstream if reuse.same_rows else source
    key = _digest([of_rows, *what, _image_files(planned, pool)])
    return key, _digest(what) if reuse.by_content else ""


def _decided_by(planned: Planned, config: RunConfig) -> list[Any]:
    """Return what else a step's result depends on: versions, sections of the recipe."""
    names = sorted(planned.contract.depends_on)
    sections = [(name, _plain(attrgetter(name)(config))) for name in names]
    own_model = getattr(planned.config, "model", None)
    if own_model is not None:
        sections.append(("model", _plain(own_model)))
    return [planned.step.version, releases(planned.contract.libraries), sections]


def _image_files(planned: Planned, pool: Pool) -> str:
    """Return the state of the files that images are in, for a step that reads them."""
    return pool.image_files() if "image" in planned.contract.modalities else ""


def _plain(value: Any) -> Any:
    if isinstance(value, ModelConfig):
        settings = value.model_dump(mode="json", exclude=_NOT_DECIDING)
        if value.name.startswith(LOCAL_DIR):
            # What is in the folder says which model it is, not where it lies.
            settings["name"] = LOCAL_DIR
        # Usual ones are left out, as they were before there were others.
        if settings.pop("runtime") == "openvino":
            settings["runtime"] = releases(LIBRARIES)
        if settings.pop("exact_decode") is False:
            settings["exact_decode"] = INEXACT
        files = local_files(value.name, value.pretrained)
        if files:
            settings["pretrained"] = None
        return [settings, files]
    if isinstance(value, BaseModel):
        # A run's lock file, where files are named whole, is the same recipe.
        return from_anywhere(value).model_dump(mode="json")
    return value


def _digest(value: Any) -> str:
    return fingerprint(json.dumps(value, sort_keys=True))
