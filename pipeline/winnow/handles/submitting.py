"""A recipe on a Spark cluster, from Python."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.config.settings import as_overrides
from winnow.core.errors import RunError
from winnow.core.other_kind import is_scan

if TYPE_CHECKING:
    from winnow.handles.lake import Lake
    from winnow.handles.run import Run

_ENGINE = "spark"

_log = logging.getLogger(__name__)


def submit(
    recipe: str | Path,
    master: str,
    set: Mapping[str, Any] | None = None,
    *,
    spark_conf: Mapping[str, object] | None = None,
    archive: str | None = None,
) -> Run | Lake:
    """Run a recipe on a Spark cluster by spark-submit, or go on where it stopped.

    recipe: a YAML file or the name of a shipped recipe.
    master: `spark://HOST:PORT`, `k8s://URL`, `yarn` or `local[N]`.
    set: settings to change, as for `run`.
    spark_conf: settings of Spark, by name: `{"spark.executor.memory": "8g"}`.
    archive: a packed environment (venv-pack) for workers that lack the dependencies.

    The driver runs on this machine; what it says goes to the log. Returns what it left,
    opened. Raises ConfigError if Spark or Java is missing, DriverError if the driver
    fails.

    >>> winnow.submit("recipe.yaml", "local[2]").finished
    True
    """
    from winnow.engines.spark import submission

    overrides = as_overrides(set)
    arguments = ["--engine", _ENGINE, "--json"]
    for override in overrides:
        arguments += ["--set", override]
    conf = {name: str(value) for name, value in (spark_conf or {}).items()}
    asked = submission.Submission(str(recipe), master, arguments, conf, archive)
    words = submission.command(asked, overrides, _ENGINE)
    told = _Result()
    submission.submit(words, submission.environment(archive), told)
    return told.opened()


class _Result:
    """Reads a driver's result; what it says before goes to the log."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        if self._lines or line.startswith("{"):
            self._lines.append(line)
        else:
            _log.info(line.rstrip())

    def opened(self) -> Run | Lake:
        """Return the run or the scan that the driver names."""
        from winnow.handles.lake import Lake
        from winnow.handles.run import Run

        try:
            path = str(json.loads("".join(self._lines))["run"])
        except (ValueError, KeyError) as error:
            raise RunError("the driver ended without a result; see its log") from error
        return Lake(path) if is_scan(path) else Run(path)
