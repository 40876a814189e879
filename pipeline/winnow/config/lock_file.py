"""The resolved recipe that a run or a scan leaves in its folder, and reads back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from winnow.config.file_names import from_anywhere
from winnow.config.recipes import ValidRecipe, dump_values, load, parse_any
from winnow.config.run import RunConfig
from winnow.config.yaml_text import parse_yaml
from winnow.core.errors import ConfigError
from winnow.core.integrity import text_checksum
from winnow.core.run_folder import RunFolder
from winnow.core.saved_files import DamagedError, read_saved

LOCK_FILE = "config.lock.yaml"
_CHECK = "# checksum "
_REMEDY = "the same command that made it, with the same --out, writes it again"


def lock_text(config: ValidRecipe) -> str:
    """Return a resolved recipe as its folder keeps it, below a checksum of itself.

    The checksum comes first, so that no part of the recipe is cut off along with it.
    Whatever files it names are named by absolute paths (`NamesFile`), so that it
    repeats its run from any folder.
    """
    text = dump_values(from_anywhere(config).as_recipe())
    return f"{_CHECK}{text_checksum(text)}\n{text}"


def load_lock(
    folder: RunFolder, overrides: Sequence[str], out: str | Path | None
) -> RunConfig:
    """Return the recipe of a run of samples under other settings.

    out: another place for it; None: its own.
    Raises DamagedError if it is gone or is not what was written, ConfigError for a
    setting that cannot be.
    """
    read_lock(folder.path)
    return load(folder.file(LOCK_FILE), overrides, None if out is None else str(out))


def read_lock(folder: Path) -> dict[str, Any]:
    """Return the resolved recipe of a run's folder.

    Raises DamagedError if it is gone or is not what was written.
    """
    file = folder / LOCK_FILE
    text = read_saved(file, _REMEDY)
    first, _, said = text.partition("\n")
    sealed = first.startswith(_CHECK)
    if sealed and first.removeprefix(_CHECK) != text_checksum(said):
        raise DamagedError(f"{file} is damaged (it is not what was written); {_REMEDY}")
    try:
        values = parse_yaml(text)
        if not isinstance(values, dict):
            raise ConfigError("it holds no recipe")
        # A lock file of version 0.1.0 has no checksum; it is a whole recipe as well.
        return values if sealed else parse_any(values).as_recipe()
    except ConfigError as error:
        raise DamagedError(f"{file} is damaged ({error}); {_REMEDY}") from error
