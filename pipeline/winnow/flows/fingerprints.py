"""Fingerprints: a step is done if its settings, its code and all before it are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from winnow.config.model import ModelConfig
from winnow.config.overrides import Overrides
from winnow.config.registry import INDEX, OVERRIDES
from winnow.config.run import RunConfig
from winnow.core.code_version import code_version
from winnow.core.hashing import fingerprint
from winnow.flows.image_text import Planned
from winnow.formats.shards import Shard
from winnow.models.checkpoint import local_files

_SECTIONLESS = (INDEX, OVERRIDES)


def of_input(config: RunConfig, shards: Sequence[Shard]) -> str:
    """Return the fingerprint of the pool and of what its columns mean."""
    return _digest(
        [
            config.input.columns.model_dump(mode="json"),
            config.input.on_duplicate_uid,
            [(shard.name, shard.fingerprint) for shard in shards],
        ]
    )


def of_step(planned: Planned, config: RunConfig, upstream: str) -> str:
    """Return the fingerprint of a step that follows `upstream`."""
    return _digest(
        [
            upstream,
            planned.name,
            _plain(planned.config) if planned.name not in _SECTIONLESS else None,
            _globals(planned, config),
            planned.contract.version,
            code_version(),
        ]
    )


def overridden(planned: Planned, plain: str, overrides: Overrides) -> str:
    """Return the fingerprint of what a step has on disk: `of_step`'s, and overrides.

    Overrides change no step's work, only what its ledger says of the rescued rows.
    """
    if planned.kind == OVERRIDES:
        return _digest([plain, [vars(row) for row in overrides.rows]])
    rescued = overrides.fingerprint("rescue")
    return _digest([plain, rescued]) if planned.contract.decides and rescued else plain


def of_reuse(planned: Planned, config: RunConfig, source: str, upstream: str) -> str:
    """Return the key under which a step's artifacts still hold in part, or ''."""
    reuse = planned.step.reuse(planned.config)
    if reuse is None:
        return ""
    return _digest(
        [
            upstream if reuse.same_rows else source,
            planned.kind,
            reuse.settings,
            _globals(planned, config),
            code_version(),
        ]
    )


def _globals(planned: Planned, config: RunConfig) -> list[Any]:
    names = sorted(planned.contract.depends_on)
    found = [(name, _plain(attrgetter(name)(config))) for name in names]
    own = getattr(planned.config, "model", None)
    return found if own is None else [*found, ("model", _plain(own))]


def _plain(value: Any) -> Any:
    if isinstance(value, ModelConfig):
        # How many threads decode changes no vector; other weights do.
        settings = value.model_dump(mode="json", exclude={"decode_threads"})
        return [settings, local_files(value.name, value.pretrained)]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _digest(value: Any) -> str:
    return fingerprint(json.dumps(value, sort_keys=True))
