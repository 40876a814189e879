"""Exports that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.core.errors import ConfigError


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a place beside `target` to write to, which gets its name at the end.

    Whatever fails before leaves nothing. Raises ConfigError if `target` exists.
    """
    if target.exists():
        raise ConfigError(f"{target} exists; name another place with --out")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".writing-{target.name}")
    _remove(beside)
    try:
        yield beside
        os.replace(beside, target)
    finally:
        _remove(beside)


def _remove(leftover: Path) -> None:
    if leftover.is_dir():
        shutil.rmtree(leftover)
    else:
        leftover.unlink(missing_ok=True)
