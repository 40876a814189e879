"""The session that an engine works in, and what its failures mean."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from winnow.core import errors
from winnow.core.engine import DRIVER_BYTES, DRIVER_ROWS, DeviceChoice
from winnow.core.errors import ConfigError, RunError, WinnowError
from winnow.engines.spark.shipping import ship_code, ship_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_JAVA = "spark.driver.extraJavaOptions"
_FULL = "No space left on device"
_OURS = re.compile(
    r"winnow\.core\.errors\.(\w+): (.*?)(?=\n\s*at |\n\n|\n\w*Driver stacktrace|\Z)",
    re.DOTALL,
)


@dataclass(frozen=True)
class SparkOptions:
    """What the section `engine` says of Spark, and a session if there is one."""

    #: Parts of every shuffle; None: as Spark finds fit for the amount of data.
    partitions: int | None = None
    #: Rows of a batch between Spark and Python.
    batch_rows: int = 16_384
    #: Bytes of rows that a kernel may take whole.
    group_bytes: int = 256 * 2**20
    #: Edges, or digests of one band, that the driver takes in.
    driver_rows: int = DRIVER_ROWS
    #: Bytes of rows up to which the driver works on relations by itself; 0: never.
    driver_bytes: int = DRIVER_BYTES
    #: What kernels multiply vectors on.
    device: DeviceChoice = "cpu"
    #: Folder for scratch files that driver and workers see; None: the run's own.
    scratch: str | None = None
    #: Settings of a session that is not there yet.
    conf: Mapping[str, str] = field(default_factory=dict)
    #: Folders and files that the workers are sent.
    ship: Sequence[str] = ()
    #: Files and folders that the workers have to see under the driver's paths.
    seen: Sequence[str] = ()
    #: Whether the pool is so small that the driver's Java spends its time on compiling.
    small: bool = False
    #: Packages of others whose code the workers run.
    packages: Sequence[str] = ()
    session: Any = None


def open_session(options: SparkOptions) -> SparkSession:
    """Return a session with settings of our own, whose workers have our code.

    A session that is given, or that is there, shares its cluster; its own settings
    stay as they are, and those of one that is given hold here, too. Raises ConfigError
    if none can be started, or if it is one of Spark Connect.
    """
    from pyspark.sql import SparkSession

    _refuse_connect(options)
    spark = options.session or SparkSession.getActiveSession() or _started(options)
    ship_code(spark, options.packages)
    for path in options.ship:
        ship_path(spark, path)
    session = spark.newSession()
    given = options.session.conf.getAll if options.session is not None else {}
    for name, value in given.items():
        if session.conf.get(name, None) != value and spark.conf.isModifiable(name):
            session.conf.set(name, value)
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": options.batch_rows,
        # Read back as they were written: plain strings and binaries.
        "spark.sql.execution.arrow.useLargeVarTypes": "false",
    }
    if options.partitions is not None:
        settings["spark.sql.shuffle.partitions"] = options.partitions
        settings["spark.sql.adaptive.coalescePartitions.enabled"] = "false"
    for name, value in settings.items():
        session.conf.set(name, str(value))
    return session


def _refuse_connect(options: SparkOptions) -> None:
    """Raise ConfigError for a session of Spark Connect, given or about to be made."""
    kind = type(options.session).__module__
    remote = "spark.remote" in options.conf or "SPARK_REMOTE" in os.environ
    if kind.startswith("pyspark.sql.connect") or (remote and options.session is None):
        raise ConfigError(
            "engine: Spark Connect is not supported: code and models are sent to the "
            "workers by a SparkContext, which its sessions lack; use a classic session "
            "(spark.master or spark-submit, not spark.remote or SPARK_REMOTE)"
        )


def _started(options: SparkOptions) -> SparkSession:
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # Workers that are not told otherwise run what the driver runs.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("winnow")
    for name, value in settings_of(options, _submitted()).items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise ConfigError(
            f"engine: Spark does not start ({error}); it needs Java 17 or newer "
            "(Debian: openjdk-17-jre-headless) or JAVA_HOME"
        ) from error
    # Otherwise the event log of this session would never be closed.
    atexit.register(session.stop)
    return session


def settings_of(options: SparkOptions, submitted: set[str]) -> dict[str, str]:
    """Return the settings of a session that Winnow starts.

    submitted: names of settings that spark-submit was given; these stay.
    """
    # The quick compiler alone: 38 in place of 65 CPU seconds for 3,000 rows.
    quick = {_JAVA: "-XX:TieredStopAtLevel=1"} if options.small else {}
    settings = {**quick, **options.conf}
    return {name: text for name, text in settings.items() if name not in submitted}


def _submitted() -> set[str]:
    """Return the names of settings that spark-submit was given for this process.

    They were written for this very run: what a recipe or Winnow's own file says of them
    would win over spark-submit's command line otherwise.
    """
    from pyspark import SparkConf, SparkContext

    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return set()
    SparkContext._ensure_initialized()
    return {name for name, _ in SparkConf().getAll()}


@contextmanager
def our_errors() -> Iterator[None]:
    """Raise what a kernel raised on a worker, where it is one of our own errors."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        ours = translated(str(error))
        if ours is None:
            raise
        raise ours from error


def translated(text: str) -> WinnowError | None:
    """Return the error of ours that a worker's traceback ends in, or None.

    A full disk is one, whoever met it: a kernel, or Spark in its own files.
    """
    if _FULL in text:
        return RunError(
            "a disk of the cluster is full: make room where workers keep what they "
            "compute (spark.local.dir), in engine.scratch or in the run's folder; the "
            "same command goes on"
        )
    match = _OURS.search(text)
    kind = getattr(errors, match[1], None) if match else None
    if match is None or not isinstance(kind, type):
        return None
    return kind(match[2].strip()) if issubclass(kind, WinnowError) else None
