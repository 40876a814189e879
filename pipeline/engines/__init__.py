"""The engines' verbs; nothing about pruning.

May import: core, store; polars in `local` only, pyspark in `spark` only. Never steps
or algorithms.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.core.engine import Engine
from pipeline.core.errors import ConfigError


def open_engine(name: str, *, scratch: Path, group_bytes: int) -> Engine:
    """Return the engine of that name, with a folder for its scratch files."""
    if name == "local":
        from pipeline.engines.local import LocalEngine

        return LocalEngine(scratch, group_bytes)
    raise ConfigError(f"engine.name: unknown engine '{name}'; known: local")
