"""The engine that a recipe names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from winnow.config.lake import LakeConfig
from winnow.config.recipes import spark_text
from winnow.config.run import RunConfig
from winnow.core.engine import Engine
from winnow.core.inside import is_url
from winnow.engines import open_engine
from winnow.engines.spark.session import SparkOptions
from winnow.models.local_model import LOCAL_DIR
from winnow.models.torch_device import device_of

#: Bytes of a pool for which Spark's Java compiles less.
_SMALL = 256 * 2**20


def make_engine(
    config: RunConfig | LakeConfig, scratch: Path, spark: Any = None
) -> Engine:
    """Open the engine that a recipe names, or Spark if there is a session.

    Raises ConfigError if Spark or the device that is named cannot be had.
    """
    engine = config.engine
    name = engine.name if spark is None else "spark"
    if engine.device == "cuda" and name == "local" and isinstance(config, RunConfig):
        # Said before any work: there is one, or an error.
        device_of(engine.device)
    return open_engine(
        name,
        scratch=scratch,
        group_bytes=engine.group_mb * 2**20,
        driver_rows=engine.driver_rows,
        device=engine.device,
        spark=_spark_options(config, spark) if name == "spark" else None,
    )


def _spark_options(config: RunConfig | LakeConfig, session: Any) -> SparkOptions:
    engine = config.engine
    return SparkOptions(
        partitions=engine.partitions,
        batch_rows=engine.batch_rows,
        group_bytes=engine.group_mb * 2**20,
        driver_rows=engine.driver_rows,
        driver_bytes=engine.driver_mb * 2**20,
        device=engine.device,
        scratch=engine.scratch,
        conf={name: spark_text(value) for name, value in engine.spark.items()},
        ship=_model_files(config) if isinstance(config, RunConfig) else (),
        seen=[*_pool(config), *filter(is_url, _paths(config))],
        small=_is_small(_pool(config)),
        packages=config.packages if isinstance(config, RunConfig) else (),
        session=session,
    )


def _paths(config: RunConfig | LakeConfig) -> Sequence[str]:
    return config.input.path if isinstance(config, RunConfig) else ()


def _pool(config: RunConfig | LakeConfig) -> list[str]:
    """Return the folders and files of this machine that samples are in."""
    full = (os.path.abspath(os.path.expanduser(path)) for path in _paths(config))
    return [path for path in full if os.path.exists(path)]


def _is_small(paths: list[str]) -> bool:
    """Whether files and folders of this machine hold less than _SMALL bytes."""
    left = _SMALL if paths else 0
    for path in paths:
        inside = [
            os.path.join(top, n) for top, _, names in os.walk(path) for n in names
        ]
        for file in inside or [path]:
            left -= os.path.getsize(file)
            if left <= 0:
                return False
    return left > 0


def _model_files(config: RunConfig) -> list[str]:
    """Return the folders and files of local models, for the workers to be sent."""
    sections = (config.section(step) for step in config.steps)
    of_steps = (getattr(section, "model", None) for section in sections)
    files: dict[str, None] = {}
    for model in (config.model, *of_steps):
        if model is None:
            continue
        local = model.name.startswith(LOCAL_DIR)
        path = model.name.removeprefix(LOCAL_DIR) if local else model.pretrained
        # A step that needs a model that is not there has said so by now.
        if path and Path(path).exists():
            files[path] = None
    return list(files)
