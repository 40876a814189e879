"""The resolved recipe that a run or a scan leaves in its folder, and reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow.config.recipes import ValidRecipe, dump
from winnow.config.yaml_text import parse_yaml
from winnow.core.errors import ConfigError
from winnow.core.integrity import text_checksum
from winnow.core.saved_files import DamagedError, read_saved

LOCK_FILE = "config.lock.yaml"
_CHECK = "# checksum "
_REMEDY = "the same command that made it, with the same --out, writes it again"


def lock_text(config: ValidRecipe) -> str:
    """Return a resolved recipe as its folder keeps it, with a checksum of itself."""
    text = dump(config)
    return f"{text}{_CHECK}{text_checksum(text)}\n"


def read_lock(folder: Path) -> dict[str, Any]:
    """Return the resolved recipe of a run's folder.

    Raises DamagedError if it is gone or is not what was written.
    """
    file = folder / LOCK_FILE
    text = read_saved(file, _REMEDY)
    said, _, check = text.rpartition(_CHECK)
    # A lock file of an earlier version has none.
    if check and said and check.strip() != text_checksum(said):
        raise DamagedError(f"{file} is damaged (it is not what was written); {_REMEDY}")
    try:
        values = parse_yaml(text)
    except ConfigError as error:
        raise DamagedError(f"{file} is damaged ({error}); {_REMEDY}") from error
    if not isinstance(values, dict):
        raise DamagedError(f"{file} is damaged (it holds no recipe); {_REMEDY}")
    return values
