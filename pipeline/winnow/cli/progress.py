"""How a run's progress looks: bars on a terminal, one line per step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from winnow.core.marker import Marker
from winnow.core.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


@contextmanager
def make_progress(*, quiet: bool) -> Iterator[Progress]:
    """Yield what suits standard error; nothing is said if `quiet`."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield _Lines()


def summary(marker: Marker, *, again: bool) -> str:
    """Return one line on a finished step."""
    parts = [f"{marker.step:<14} {marker.rows_in:>12,} in {marker.kept:>12,} kept"]
    if marker.dropped:
        parts.append(f"{marker.dropped:,} dropped")
    if marker.quarantined:
        parts.append(f"{marker.quarantined:,} quarantined")
    parts.append("done before" if again else f"{marker.seconds:.1f} s")
    return ", ".join(parts)


class _Lines:
    """One line per step."""

    def started(self, step: str, rows: int) -> None:
        """Say nothing yet."""

    def advanced(self, done: int, total: int) -> None:
        """Say nothing."""

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Print the step's line."""
        sys.stderr.write(summary(marker, again=again) + "\n")
        sys.stderr.flush()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars, console)


class _Bars:
    """A moving bar for the running step, a line for each finished one."""

    def __init__(self, bars: Bars, console: Console) -> None:
        self._bars, self._console = bars, console
        self._task: TaskID | None = None

    def started(self, step: str, rows: int) -> None:
        """Show the step's bar."""
        self._task = self._bars.add_task(step, total=rows)

    def advanced(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total)

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Replace the bar by the step's line."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._console.print(summary(marker, again=again), highlight=False)
