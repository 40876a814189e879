"""Folders of work that go afterwards, and where a process was killed with the next."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from winnow.core.operating_system import lock

_LOCK = ".lock"


@contextmanager
def scratch_folder(parent: Path | None, prefix: str) -> Iterator[Path]:
    """Yield a new folder that goes afterwards, as do those of processes that are gone.

    parent: where it lies; None: where the system has temporary files. prefix: how its
    name begins, which says what it is for.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    for leftover in where.glob(f"{prefix}*"):
        _remove_if_left(leftover)
    folder, handle = _made(where, prefix)
    try:
        yield folder
    finally:
        handle.close()
        shutil.rmtree(folder, ignore_errors=True)


def _made(where: Path, prefix: str) -> tuple[Path, IO[Any]]:
    """Return a new folder, and its lock, held; one that is swept meanwhile is left."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        with suppress(FileNotFoundError):
            handle = (folder / _LOCK).open("w")
            with suppress(OSError):
                lock(handle)
            if (folder / _LOCK).exists():
                return folder, handle
            handle.close()


def _remove_if_left(folder: Path) -> None:
    """Remove a folder that nobody holds: its process has ended, or it is empty."""
    with suppress(OSError):
        if not any(folder.iterdir()):
            os.rmdir(folder)
            return
        # Without "w", which would make the file in a folder that has none.
        with (folder / _LOCK).open("r+") as handle:
            lock(handle)
            shutil.rmtree(folder, ignore_errors=True)
