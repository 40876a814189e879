"""The engines' verbs; nothing about pruning.

May import: core, config; polars in `local` only, pyspark in `spark/` only. Never steps
or algorithms.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from winnow.core.engine import DRIVER_ROWS, DeviceChoice, Engine
from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extras import require
from winnow.engines.on_demand import EngineOnDemand

if TYPE_CHECKING:
    from winnow.engines.spark.session import SparkOptions

ENGINES = ("local", "spark")


def open_engine(
    name: str,
    *,
    scratch: Path,
    group_bytes: int,
    driver_rows: int = DRIVER_ROWS,
    device: DeviceChoice = "cpu",
    spark: SparkOptions | None = None,
) -> Engine:
    """Return the engine of that name, with a folder for its scratch files.

    `spark` is what the engine of that name is told. Raises ConfigError for a name that
    is none, and if Spark does not start.
    """
    if name == "local":

        def local() -> Engine:
            from winnow.engines.local import LocalEngine

            return LocalEngine(scratch, group_bytes, driver_rows, device)

        return cast(Engine, EngineOnDemand(name, local))
    if name == "spark":
        require("spark", "engine.name: spark")
        from winnow.engines.spark.engine import SparkEngine

        return SparkEngine(scratch, spark)
    hint = did_you_mean(name, ENGINES)
    raise ConfigError(f"engine.name: unknown engine '{name}'; {hint}")
