"""The folder that an agent may look into, and values in a form that JSON has."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from winnow.config.recipes import shipped
from winnow.core.errors import ConfigError
from winnow.core.inside import is_url, resolve_inside

#: Sections and keys that name a function of somebody's.
_CODE = re.compile(r"(custom(_\d+)?|function)$")
#: Signs of a pattern of file names.
_PATTERN = frozenset("*?[{")
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
        """Return a shipped recipe's name as it stands, or the file of another name.

        Raises ConfigError for one that is not inside.
        """
        return name if name in shipped() else self.path(name)

    def settings(
        self, given: Mapping[str, Any], *, code: bool = False
    ) -> dict[str, Any]:
        """Return settings of which every path leads to what lies inside.

        given: by dotted key, or by section.
        code: whether they may name functions to be called.

        Relative paths are seen from the workspace, which is the working directory of
        the server. Raises ConfigError for a path that leads out, and for code.
        """
        for key, value in given.items():
            if not code and any(_CODE.match(part) for part in str(key).split(".")):
                raise ConfigError(f"{key}: names code to run; that needs --allow-run")
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Mapping):
                    self.settings(inner, code=code)
                elif isinstance(inner, str):
                    self._inside(inner)
        return dict(given)

    def _inside(self, value: str) -> None:
        """Raise ConfigError if a text is a path, or a pattern, that leads out."""
        named = value.removeprefix("local-dir:")
        # What begins a pattern decides where it looks.
        fixed = list(takewhile(lambda part: not _PATTERN & set(part), named.split("/")))
        begins = "/".join(fixed)
        if named.startswith("~"):
            # Libraries take it for somebody's home.
            raise ConfigError(f"{value!r} lies outside of {self.root}")
        leads_out = named.startswith("/") or ".." in fixed or is_url(named)
        if leads_out or (begins and (self.root / begins).exists()):
            self.path(named if is_url(named) else begins or "/")


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
