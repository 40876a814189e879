"""What a driver sends to the workers of its Spark session: our code, models.

Workers import the driver's `winnow`, whatever else goes by that name there: Spark
puts what is sent in front of the installed packages.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from winnow.core.errors import ConfigError, RunError
from winnow.core.shipped import shipped_name
from winnow.engines.spark.archives import (
    PACKAGE,
    digest,
    files_of,
    pack_code,
    pack_path,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: (application, path) of what was sent, and the digest of its contents.
_SENT: dict[tuple[str, str], str] = {}


def ship_code(session: SparkSession, packages: Iterable[str] = ()) -> None:
    """Send this package, and others that a recipe's steps are of, to all workers.

    Each once for each session. Workers on this machine (`local[…]`) share the driver's
    path instead. Raises ConfigError if a package is not to be found here.
    """
    context = session.sparkContext
    if _is_local(context.master):
        return
    for name in ("winnow", *packages):
        key = (context.applicationId, f"code of {name}")
        if key in _SENT:
            continue
        source = PACKAGE if name == PACKAGE.name else _source_of(name)
        archive = pack_code(_outbox(), source)
        before = list(sys.path)
        context.addPyFile(str(archive))
        # The driver goes on with its own files: an archive has no recipes, no models.
        sys.path[:] = before
        _SENT[key] = str(archive)


def _source_of(package: str) -> Path:
    """Return the folder of a package, or the file of a module alone."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"{package}: its modules cannot be sent to Spark's workers")
    file = Path(spec.origin)
    return file.parent if file.name == "__init__.py" else file


def ship_path(session: SparkSession, path: str) -> None:
    """Send a folder or file; workers find it by `core.shipped.local_copy(path)`.

    Raises ConfigError if there is nothing at the path, and RunError if the session has
    sent it with other contents: workers keep what they have.
    """
    source = Path(os.path.abspath(path))
    if not source.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    context = session.sparkContext
    if _is_local(context.master):
        return
    name = shipped_name(path)
    now = digest(files_of(source), source.parent)
    sent = _SENT.get((context.applicationId, name))
    if sent is None:
        archive = pack_path(source, _outbox() / f"{name}-{now[:16]}.zip")
        context.addArchive(f"{archive}#{name}")
        _SENT[context.applicationId, name] = now
    elif sent != now:
        raise RunError(
            f"{path} has changed since this Spark session sent it to its workers; "
            "start a new session"
        )


def _is_local(master: str | None) -> bool:
    return str(master).partition("[")[0] == "local"


@cache
def _outbox() -> Path:
    """Return a folder for archives that lives as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="winnow-sent-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
