"""Whether workers see what the driver sees, asked before any work."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from winnow.core.errors import RunError


def require_seen(context: Any, folders: Sequence[Path], files: Sequence[str]) -> None:
    """Raise RunError, with the host's name, unless workers see folders and files.

    context: a SparkContext; one on this machine alone is not asked. folders: in which a
    file is written to be looked for, since another machine may have a folder of that
    name. files: files and folders that are there already.
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
        host, path = min(unseen)
        shown = os.path.dirname(path) if os.path.basename(path) == name else path
        raise RunError(
            f"the worker on {host} does not see {shown} as the driver does; driver and "
            "workers need one file system under the same paths for the pool, for --out "
            "and for engine.scratch"
        )


def unseen_here(
    numbers: Iterator[int], *, paths: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield (host, path) of what is not there on the machine of this task."""
    for _ in numbers:
        for path in paths:
            if not os.path.exists(path):
                yield socket.gethostname(), path
