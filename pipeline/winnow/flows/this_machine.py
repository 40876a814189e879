"""Which recipes of a cluster need none: decisions are the same on every engine."""

from __future__ import annotations

from winnow.config.run import RunConfig


def on_this_machine(config: RunConfig, rows: int) -> RunConfig:
    """Return a recipe with the local engine if its rows are few, else as it is.

    rows: of the pool. Up to `engine.driver_rows`, the driver of a cluster would take
    them all as well, and to start Spark takes longer than what is asked of it.
    """
    if rows > config.engine.driver_rows:
        return config
    engine = config.engine.model_copy(update={"name": "local"})
    return config.model_copy(update={"engine": engine})
