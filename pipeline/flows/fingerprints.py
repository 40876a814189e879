"""Fingerprints: a step is done if its settings, its code and all before it are."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.config.model import ModelConfig
from pipeline.config.run import RunConfig
from pipeline.core.hashing import digest, fingerprint
from pipeline.flows.image_text import Planned
from pipeline.models.checkpoint import LOCAL_DIR, sha256
from pipeline.store.shards import Shard

#: Rooms whose code a result depends on.
_ROOMS = ("algorithms", "core", "engines", "models", "steps", "store")


@functools.cache
def code_version() -> str:
    """Return a fingerprint of the source that decides."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(file for room in _ROOMS for file in (package / room).rglob("*.py"))
    return digest(*(file.read_bytes() for file in files)).hex()


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
            _plain(planned.config) if planned.name != "index" else None,
            _globals(planned, config),
            planned.contract.version,
            code_version(),
        ]
    )


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
        return [settings, _weights(value)]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _weights(model: ModelConfig) -> list[str]:
    """Return the digests of a local model's files; those of a tag never change."""
    if model.name.startswith(LOCAL_DIR):
        folder = Path(model.name.removeprefix(LOCAL_DIR))
        files = sorted(file for file in folder.glob("*") if file.is_file())
    else:
        files = [Path(model.pretrained)] if model.pretrained else []
    return [f"{file.name}:{_sha256(file)}" for file in files if file.is_file()]


def _sha256(file: Path) -> str:
    status = file.stat()
    return _sha256_of(file, status.st_size, status.st_mtime_ns)


@functools.cache
def _sha256_of(file: Path, size: int, changed: int) -> str:
    return sha256(file)


def _digest(value: Any) -> str:
    return fingerprint(json.dumps(value, sort_keys=True))
