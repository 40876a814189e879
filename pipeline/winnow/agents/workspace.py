"""The folder that an agent may look into, and values in a form that JSON has."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError
from winnow.core.inside import is_url, resolve_inside

#: The most letters of one value in an answer; captions may be books.
LETTERS = 2_000


class Workspace:
    """One folder; paths that an agent names lead to what lies in it, or nowhere.

    root: the folder, links followed.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise ConfigError(f"--root {root}: there is no such folder")

    def path(self, name: str) -> Path:
        """Return where a name leads; raises ConfigError if that is not inside."""
        if is_url(name):
            raise ConfigError(f"{name}: only paths in {self.root} can be read here")
        try:
            return Path(resolve_inside([str(self.root)], str(self.root), name))
        except ValueError as error:
            raise ConfigError(f"{name!r} lies outside of {self.root}") from error

    def recipe(self, name: str) -> str | Path:
        """Return a recipe's file, or the name of a shipped one as it stands."""
        looks_shipped = not name.endswith((".yaml", ".yml")) and not name.startswith(
            "/"
        )
        return name if looks_shipped else self.path(name)

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings whose paths lie inside, made absolute.

        A text is a path if something lies there, or if it has the form of one.
        Raises ConfigError for one that leads out.
        """
        return {key: self._setting(value) for key, value in given.items()}

    def _setting(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.settings(value)
        if isinstance(value, list):
            return [self._setting(inner) for inner in value]
        if not isinstance(value, str):
            return value
        named = value.removeprefix("local-dir:")
        is_path = "/" in named or ".." in named or (self.root / named).exists()
        if not is_path:
            return value
        return value[: len(value) - len(named)] + str(self.path(named))


def as_json(value: Any) -> Any:
    """Return a value as JSON has it: bytes by their length, texts cut, no NaN."""
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and len(value) > LETTERS:
        return value[:LETTERS] + f"… ({len(value):,} letters)"
    return value if value is None or isinstance(value, bool | int | str) else str(value)
