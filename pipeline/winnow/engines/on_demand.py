"""An engine that is opened when it is first asked for something.

May import: core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from winnow.core.engine import Engine


class EngineOnDemand:
    """Hands every verb on to an engine that is made on the first of them.

    To import the local engine takes a tenth of a second, and a scan of a lake in which
    nothing is left to compare needs none.
    """

    def __init__(self, name: str, make: Callable[[], Engine]) -> None:
        #: As the engine's own.
        self.name = name
        self._make = make
        self._made: Engine | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)

    def tasks(self) -> tuple[int, int]:
        """Return the engine's tasks; there are none before it is opened."""
        return (0, 0) if self._made is None else self._made.tasks()

    def clear(self) -> None:
        """Drop what the engine keeps, if it was opened."""
        if self._made is not None:
            self._made.clear()
