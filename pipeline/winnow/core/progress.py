"""How a run tells what it is doing; the command line decides how it looks."""

from __future__ import annotations

from typing import Protocol

from winnow.core.marker import Marker


class Progress(Protocol):
    """Told of every step, in order."""

    def started(self, step: str, rows: int) -> None:
        """A step begins; so many rows enter it."""

    def advanced(self, done: int, total: int) -> None:
        """The running step has worked through so many of its rows."""

    def finished(self, marker: Marker, *, again: bool) -> None:
        """A step is done; `again` if it was done already and nothing was run."""


class Silent:
    """Says nothing."""

    def started(self, step: str, rows: int) -> None:
        """Say nothing."""

    def advanced(self, done: int, total: int) -> None:
        """Say nothing."""

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Say nothing."""
