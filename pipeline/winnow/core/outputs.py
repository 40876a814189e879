"""Outputs that are asked for: whether they can be made is known before the work."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from winnow.core.errors import ConfigError


def require_folder(path: str | Path, option: str) -> None:
    """Make a folder, or raise ConfigError if it cannot be made or written to.

    option: what the user called it, `--out`. Example: `require_folder("out", "--out")`.
    """
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_room(folder)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError(_told(option, path, error)) from error


def require_ending(path: str | Path, endings: Sequence[str]) -> None:
    """Raise ConfigError if a file's name ends like another kind than is written."""
    ending = Path(path).suffix
    if ending and ending.lower() not in endings:
        raise ConfigError(f"{path}: name it {' or '.join(endings)}, not {ending}")


def require_file(path: str | Path, option: str) -> None:
    """Raise ConfigError if a file cannot be written: no such folder, or no right to."""
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if file.exists() and not file.is_file():
            # A new file would take the place of a device or a pipe.
            raise OSError(None, "it is no plain file")
        _require_room(file.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError(_told(option, path, error)) from error


def _require_room(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b" ")


def _told(option: str, path: str | Path, error: Exception) -> str:
    why = getattr(error, "strerror", None) or str(error)
    return f"{option} {path}: cannot be written ({why}); choose another place"
