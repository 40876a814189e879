"""The resolved recipe that a run or a scan leaves in its folder, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow.config.yaml_text import parse_yaml
from winnow.core.errors import ConfigError
from winnow.core.saved_files import DamagedError, read_saved

LOCK_FILE = "config.lock.yaml"
_REMEDY = "the same command that made it, with the same --out, writes it again"


def read_lock(folder: Path) -> dict[str, Any]:
    """Return the resolved recipe of a run's folder.

    Raises DamagedError if it is gone or is not what was written.
    """
    file = folder / LOCK_FILE
    text = read_saved(file, _REMEDY)
    try:
        values = parse_yaml(text)
    except ConfigError as error:
        raise DamagedError(f"{file} is damaged ({error}); {_REMEDY}") from error
    if not isinstance(values, dict):
        raise DamagedError(f"{file} is damaged (it holds no recipe); {_REMEDY}")
    return values
