"""Whether workers see what the driver sees, asked before any work."""

from __future__ import annotations

import glob
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fsspec

from winnow.core.errors import RunError
from winnow.core.inside import is_url


def require_seen(context: Any, folders: Sequence[Path], files: Sequence[str]) -> None:
    """Raise RunError, with the host's name, unless workers see folders and files.

    context: a SparkContext; one on this machine alone is not asked. folders: in which a
    file is written to be looked for, since another machine may have a folder of that
    name. files: files, folders and URLs that are there already.
    """
    if str(context.master).startswith("local"):
        return
    name = f".seen-{uuid.uuid4().hex}"
    written = [folder / name for folder in dict.fromkeys(folders)]
    try:
        for file in written:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        wanted = [*map(os.fspath, written), *files]
        slots = max(1, int(context.defaultParallelism))
        tasks = context.parallelize(range(slots), slots)
        unseen = tasks.mapPartitions(partial(unseen_here, paths=wanted)).collect()
    finally:
        for file in written:
            file.unlink(missing_ok=True)
    if unseen:
        host, path, why = min(unseen)
        if is_url(path):
            raise RunError(
                f"the worker on {host} cannot read {path} as the driver does: {why}; "
                "workers need the store's package, address and credentials in their "
                "own environment"
            )
        shown = os.path.dirname(path) if os.path.basename(path) == name else path
        raise RunError(
            f"the worker on {host} does not see {shown} as the driver does; driver and "
            "workers need one file system under the same paths for the pool, for --out "
            "and for engine.scratch"
        )


def unseen_here(
    numbers: Iterator[int], *, paths: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield (host, path, why) of what cannot be seen on the machine of this task."""
    for _ in numbers:
        for path in paths:
            why = _why_not(path)
            if why:
                yield socket.gethostname(), path, why


def _why_not(path: str) -> str:
    """Return why a path or URL cannot be seen here; '' if it can."""
    missing = "it is not there"
    if not is_url(path):
        return "" if os.path.exists(path) else missing
    try:
        fs, inner = fsspec.url_to_fs(path)
        there = fs.glob(inner) if glob.has_magic(inner) else fs.exists(inner)
    except Exception as error:  # of whatever library the store is read by
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return "" if there else missing


def require_written(files: Sequence[Path]) -> None:
    """Raise RunError if this process does not see what workers have written."""
    lost = [file for file in files if not file.is_file()]
    if lost:
        raise RunError(
            f"{lost[0]} was written by a worker but is not seen here; driver and "
            "workers need one file system under the same path"
        )
