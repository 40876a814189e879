"""`winnow submit`: a driver started by spark-submit, its lines passed on as they come.

May import: config, core. The driver runs one of the files of `jobs/`; it imports this
very package, and sends it to the workers (`engines.shipping`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import IO

from winnow.config.recipes import find, flow_of, load_values, read, spark_text
from winnow.core.errors import ConfigError, WinnowError
from winnow.core.extras import require

_PACKAGE = Path(__file__).resolve().parents[2]
#: `jobs/` lies beside the package in a checkout and inside it in a wheel.
_JOBS = (_PACKAGE / "jobs", _PACKAGE.parents[1] / "jobs")
_JOB_OF = {"image_text": "curate.py", "table_lake": "lake.py"}
_UNPACKED = "environment"
# Of what Spark says of itself, so many last lines are shown when the driver fails.
_LAST = 30


class DriverError(WinnowError):
    """A driver that ended in an error; `exit_code` is the driver's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Submission:
    """What to run, and where."""

    recipe: str
    master: str
    #: Arguments that the job passes on to `winnow run`.
    arguments: Sequence[str] = ()
    #: Spark's settings; they come before those of the recipe.
    conf: Mapping[str, str] | None = None
    #: A packed environment (venv-pack, conda-pack) that workers unpack and run.
    archive: str | None = None


def spark_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Return `k=v` settings of the command line, or raise ConfigError."""
    settings = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.startswith("spark."):
            raise ConfigError(f"--spark-conf {pair}: write spark.some.setting=value")
        settings[name] = value
    return settings


def command(
    submission: Submission, overrides: Sequence[str], engine: str = "spark"
) -> list[str]:
    """Return the spark-submit command of a submission.

    Raises ConfigError if the recipe is not there, if Spark or Java is not, or if the
    settings ask for a driver elsewhere than here.
    """
    values = read(find(submission.recipe))
    flow = flow_of(values)
    values = load_values(submission.recipe, overrides, None, flow, engine)
    conf = {
        # The driver's own lines are what is told; Spark's are its warnings.
        "spark.log.level": "WARN",
        "spark.app.name": f"winnow {Path(submission.recipe).stem}",
        **_text((values.get("engine") or {}).get("spark") or {}),
        **(submission.conf or {}),
    }
    if conf.get("spark.submit.deployMode") == "cluster":
        raise ConfigError(
            "winnow submit runs the driver on this machine; to run it in the cluster, "
            "call spark-submit --deploy-mode cluster with an image that holds Winnow "
            "(docker/README.md)"
        )
    words = [str(_spark_submit()), "--master", submission.master]
    for name, value in conf.items():
        words += ["--conf", f"{name}={value}"]
    if submission.archive:
        words += ["--archives", f"{submission.archive}#{_UNPACKED}"]
    return [*words, str(_job(flow)), submission.recipe, *submission.arguments]


def environment(archive: str | None = None) -> dict[str, str]:
    """Return the driver's environment: this Python, this package, those workers."""
    ours = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    workers = os.environ.get("PYSPARK_PYTHON", sys.executable)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(ours),
        "PYTHONUNBUFFERED": "1",
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_PYTHON": f"./{_UNPACKED}/bin/python" if archive else workers,
    }


def submit(
    words: Sequence[str], env: Mapping[str, str], tell: Callable[[str], object]
) -> None:
    """Run a driver to its end; every line of its own goes to `tell` as it comes.

    Raises DriverError with the driver's exit code if that is not 0.
    """
    pipe = subprocess.PIPE
    errors: deque[str] = deque(maxlen=_LAST)
    said = ""
    with subprocess.Popen(
        list(words), env=dict(env), stdout=pipe, stderr=pipe, text=True
    ) as driver:
        reader = Thread(target=errors.extend, args=(_lines(driver.stderr),))
        reader.start()
        try:
            for line in _lines(driver.stdout):
                said = line if line.startswith("winnow: ") else said
                tell(line)
        except BaseException:
            driver.terminate()
            raise
        finally:
            reader.join()
    if driver.returncode:
        code = driver.returncode
        raise DriverError(
            _failure(code, said, errors), code if code > 0 else 128 - code
        )


def _failure(code: int, said: str, errors: Sequence[str]) -> str:
    """Return what the driver said last, or else what Spark did."""
    if said:
        return f"the driver ended with {code}; its reason stands above"
    how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    told = "".join(f"\n  {line.rstrip()}" for line in errors)
    return (
        f"the driver {how}; the same command goes on where it stopped. Spark's last "
        f"lines:{told or ' none'}"
    )


def _lines(stream: IO[str] | None) -> Sequence[str] | IO[str]:
    return stream if stream is not None else ()


def _job(flow: str) -> Path:
    if flow not in _JOB_OF:
        raise ConfigError(f"flow: no job runs recipes of '{flow}'")
    for folder in _JOBS:
        if (folder / _JOB_OF[flow]).is_file():
            return folder / _JOB_OF[flow]
    raise ConfigError(f"no jobs/{_JOB_OF[flow]} beside or in {_PACKAGE}")


def _spark_submit() -> Path:
    """Return the spark-submit of $SPARK_HOME, or of the installed pyspark."""
    if shutil.which("java", path=_java_path()) is None:
        raise ConfigError(
            "Spark needs Java 17 or newer, and there is no java; install a JRE "
            "(Debian: openjdk-17-jre-headless) or set JAVA_HOME"
        )
    home = os.environ.get("SPARK_HOME")
    if home is None:
        require("spark", "winnow submit without SPARK_HOME")
        spec = find_spec("pyspark")
        assert spec is not None
        assert spec.origin is not None
        home = str(Path(spec.origin).parent)
    script = Path(home, "bin", "spark-submit")
    if not script.is_file():
        raise ConfigError(f"SPARK_HOME: there is no {script}")
    return script


def _java_path() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin")) if home else None


def _text(conf: Mapping[str, object]) -> dict[str, str]:
    return {name: spark_text(value) for name, value in conf.items()}
