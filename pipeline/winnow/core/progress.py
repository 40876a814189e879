"""How a run tells what it is doing; the command line decides how it looks.

A step is worked through in passes: over its rows, or over other units where it says so.
Engines count the passes, steps name them, and neither knows who is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from winnow.core.marker import Marker

if TYPE_CHECKING:
    # `winnow --help` answers at once.
    import pyarrow as pa

#: Units done, and how many there are; 0: not known.
Tasks = Callable[[], tuple[int, int]]

_POLL_SECONDS = 0.5


class Progress(Protocol):
    """Told of every step, in order; on Spark also from another thread."""

    def started(self, step: str, rows: int) -> None:
        """A step begins; so many rows enter it."""

    def advanced(self, done: int, total: int) -> None:
        """The pass that runs has come so far; a total of 0 is not known."""

    def finished(self, marker: Marker, *, again: bool) -> None:
        """A step is done; `again` if it was done already and nothing was run."""


@runtime_checkable
class Telling(Progress, Protocol):
    """A progress that is told, too, what the running step is about."""

    def doing(self, what: str, unit: str) -> None:
        """Say what is done from now on, and what `advanced` counts (`row`)."""


class Silent:
    """Says nothing."""

    def started(self, step: str, rows: int) -> None:
        """Say nothing."""

    def doing(self, what: str, unit: str) -> None:
        """Say nothing."""

    def advanced(self, done: int, total: int) -> None:
        """Say nothing."""

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Say nothing."""


class Pass:
    """One time through a number of units.

    total: how many there are; 0: not known. More of them, and it was none of them that
    were counted: it is not known any more.
    """

    def __init__(self, total: int, tell: Callable[[int, int], None]) -> None:
        self._total, self._tell = total, tell
        self.done = 0
        #: Whether what is counted says so itself.
        self.told_itself = False

    def passed(self, count: int) -> None:
        """So many more are done."""
        self.reached(self.done + count)

    def reached(self, done: int) -> None:
        """So many are done in all; fewer than before says nothing new."""
        if done <= self.done:
            return
        self.done = done
        if done > self._total:
            self._total = 0
        self._tell(done, self._total)


class Watch:
    """Who is told of one running step.

    progress: who. rows: how many enter the step: the total of every pass over them.
    """

    def __init__(self, progress: Progress, rows: int) -> None:
        self._progress, self._rows = progress, rows
        self._label, self._aside, self._shown = "", "", ("", "row")
        self._open: Pass | None = None
        self._of_rows = True

    def label(self, what: str) -> None:
        """Name the passes to come."""
        self._label, self._aside = what, ""
        self._show(what)

    @contextmanager
    def one_pass(self, total: int | None, unit: str) -> Iterator[Pass]:
        """Count one pass; a pass in a pass counts for the outer one."""
        if self._open is not None:
            yield self._open
            return
        self._open = Pass(self._rows if total is None else total, self._told(unit))
        self._of_rows = unit == "row"
        try:
            yield self._open
        finally:
            self._open = None

    def rows_done(self, count: int) -> None:
        """So many rows more are done, if it is rows that are counted."""
        if self._open is not None and self._of_rows:
            self._open.told_itself = True
            self._open.passed(count)

    def aside(self, what: str) -> None:
        """Say what is done in between; nothing: the step goes on."""
        self._aside = what
        self._show(what or self._label)

    def tasks(self, done: int, total: int) -> None:
        """A cluster has done so many of the tasks that it is given now."""
        if self._open is not None:
            self._show(f"{done:,} of {total:,} tasks")
        else:
            self._show(self._label, "task")
            self._progress.advanced(done, total)

    def _told(self, unit: str) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if self._aside or self._shown[1] != unit:
                self._show(self._label, unit)
            self._progress.advanced(done, total)

        return tell

    def _show(self, what: str, unit: str = "row") -> None:
        if (what, unit) != self._shown and isinstance(self._progress, Telling):
            self._progress.doing(what, unit)
        self._shown = (what, unit)


_watch: ContextVar[Watch | None] = ContextVar("winnow_watch", default=None)


@contextmanager
def watched(
    progress: Progress, rows: int, tasks: Tasks | None = None
) -> Iterator[None]:
    """Tell `progress` of what this thread works on.

    rows: how many enter. tasks: asked, twice a second, what a cluster is working on.
    """
    watch, ended = Watch(progress, rows), threading.Event()
    token = _watch.set(watch)
    poll = threading.Thread(target=_poll, args=(watch, tasks, ended), daemon=True)
    if tasks is not None:
        poll.start()
    try:
        yield
    finally:
        ended.set()
        if tasks is not None:
            poll.join()
        _watch.reset(token)


def _poll(watch: Watch, tasks: Tasks | None, ended: threading.Event) -> None:
    while tasks is not None and not ended.wait(_POLL_SECONDS):
        done, total = tasks()
        if total:
            watch.tasks(done, total)


def doing(what: str) -> None:
    """Say what the running step does from now on ("comparing pairs")."""
    watch = _watch.get()
    if watch is not None:
        watch.label(what)


@contextmanager
def in_between(what: str) -> Iterator[None]:
    """Say what is done before a step goes on ("loading the model")."""
    say_in_between(what)
    try:
        yield
    finally:
        say_in_between("")


def say_in_between(what: str) -> None:
    """Say what is done before a step goes on; nothing: it does, now."""
    watch = _watch.get()
    if watch is not None:
        watch.aside(what)


@contextmanager
def one_pass(total: int | None = None, unit: str = "row") -> Iterator[Pass]:
    """Count one pass through the units of a step; a pass inside it counts for it.

    total: how many there are; None: as many rows as enter the step.
    """
    watch = _watch.get()
    if watch is None:
        yield Pass(0, lambda done, total: None)
        return
    with watch.one_pass(total, unit) as counted:
        yield counted


def counted(
    kernel: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    batches: Iterator[pa.RecordBatch],
    tasks: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream batches through a kernel and count the pass.

    tasks: how many rows there are, if each is a piece of work; None: rows of the step.

    A batch is done when the kernel asks for the next one, unless the kernel, or what
    it reads rows with, says itself how many are (`rows_done`).
    """
    with one_pass(tasks, "row" if tasks is None else "task") as this:
        this.told_itself = False

        def given() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield batch
                if not this.told_itself:
                    this.passed(len(batch))

        yield from kernel(given())


def rows_done(count: int) -> None:
    """Count so many rows more as done, in the pass that runs; others are not counted.

    Said by what takes in more rows at a time than it works through, and first of all
    with 0, before it takes in any.
    """
    watch = _watch.get()
    if watch is not None:
        watch.rows_done(count)
