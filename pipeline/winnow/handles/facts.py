"""Plain values that say themselves in words."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any


class Facts(dict[str, Any]):
    """What was found, as a dictionary of plain values that prints as text.

    values: what the command's `--json` prints: text, numbers, lists and dictionaries.
    tell: turns the values into the text that the command prints.

    `str()` and `print` give the text; a notebook shows it.

    >>> story = run.explain(uid)
    >>> story["fate"]
    'dropped'
    >>> str(story).splitlines()[0].endswith(": dropped at semantic")
    True
    """

    def __init__(
        self, values: Mapping[str, Any], tell: Callable[[dict[str, Any]], str]
    ) -> None:
        super().__init__(values)
        self._tell = tell

    def __str__(self) -> str:
        return self._tell(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
