"""How progress looks: a moving line on a terminal, a line now and then in a pipe.

Both say the same: rows done and to do, rows a second, the time left. In a pipe a step
that takes long says so after two seconds, and then less and less often.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from winnow.core.marker import Marker
from winnow.core.progress import Progress, Silent
from winnow.core.terminal import plain
from winnow.core.words import number_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID

Clock = Callable[[], float]

#: Seconds between two lines about one step, in turn; the last one stays.
_GAPS = (2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
#: What counts on in a text that says the same as before.
_DIGITS = "0123456789, "
#: Below so many columns, a terminal gets no bar beside the numbers.
_WIDE = 90
#: Seconds within which a unit's first news is no measure of its rate.
_AT_ONCE = 0.05


@contextmanager
def make_progress(*, quiet: bool) -> Iterator[Progress]:
    """Yield what suits standard error; nothing is said if `quiet`."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with _bars() as bars:
            yield bars
    else:
        with Lines(sys.stderr.write).ticking() as lines:
            yield lines


def summary(marker: Marker, *, again: bool) -> str:
    """Return one line on a finished step."""
    parts = [f"{marker.step:<14} {marker.rows_in:>12,} in {marker.kept:>12,} kept"]
    if marker.dropped:
        parts.append(f"{marker.dropped:,} dropped")
    if marker.quarantined:
        parts.append(f"{marker.quarantined:,} quarantined")
    parts.append("done before" if again else f"{marker.seconds:.1f} s")
    return ", ".join(parts)


class Pace:
    """How far the running step is, and how fast it is going.

    clock: seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.step, self.what, self.unit = "", "", "row"
        self.done, self.total = 0, 0
        self._step_began = self._began = self._last = clock()
        self._base: int | None = None

    def started(self, step: str, rows: int) -> None:
        """A step begins."""
        self.step = step
        self._step_began = self._clock()
        self.doing("", "row")
        self.total = rows

    def doing(self, what: str, unit: str) -> None:
        """Something else is done, or counted, from now on."""
        self.what, self.unit = what, unit
        self.done, self._base = 0, None
        self._began = self._last = self._clock()

    def advanced(self, done: int, total: int) -> None:
        """So many units are done."""
        now = self._clock()
        if done < self.done:  # once more from the beginning
            self._began, self._base = self._last, 0
        if self._base is None:
            # Told at once, these were done before: by an earlier run, say.
            self._base = done if now - self._began < _AT_ONCE else 0
        self.done, self.total, self._last = done, total, now

    def told(self) -> str:
        """Return how far it is, in words."""
        if not self.done:
            seconds = self._clock() - (self._began if self.what else self._step_began)
            return ", ".join(filter(None, (self.what, duration(seconds))))
        of = f"{self.done:,} of " if self.total else ""
        parts = [self.what, of + number_of(self.total or self.done, self.unit)]
        seconds = self._last - self._began
        rate = (self.done - (self._base or 0)) / seconds if seconds > 0 else 0.0
        if rate > 0:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
            if self.total:
                left = (self.total - self.done) / rate - (self._clock() - self._last)
                parts.append(f"{duration(max(left, 0.0))} left")
        return ", ".join(filter(None, parts))


def duration(seconds: float) -> str:
    """Return seconds as people say them: `45 s`, `3 min`, `1 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return (
        f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


class Lines:
    """A line per step, and about a step that takes long.

    write: takes text. clock: seconds.
    """

    def __init__(
        self, write: Callable[[str], object], clock: Clock = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._pace = Pace(clock)
        self._lock = threading.Lock()
        self._next, self._gap = 0.0, 0
        self._running = False
        self._said: set[str] = set()

    @contextmanager
    def ticking(self) -> Iterator[Lines]:
        """Look twice a second whether a line is due."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(0.5):
                self.tick()

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield self
        finally:
            ended.set()
            ticker.join()

    def tick(self) -> None:
        """Write a line if one is due."""
        with self._lock:
            now = self._clock()
            if not self._running or now < self._next:
                return
            self._line(f"{self._pace.step:<14} {self._pace.told()}")
            self._gap = min(self._gap + 1, len(_GAPS) - 1)
            self._next = now + _GAPS[self._gap]

    def started(self, step: str, rows: int) -> None:
        """A step begins; nothing is said yet."""
        with self._lock:
            self._pace.started(step, rows)
            self._running, self._gap = True, 0
            self._said.clear()
            self._next = self._clock() + _GAPS[0]

    def doing(self, what: str, unit: str) -> None:
        """Note what the step is about."""
        with self._lock:
            self._pace.doing(what, unit)
            kind = what.strip(_DIGITS)
            if kind not in self._said:
                self._said.add(kind)
                self._gap = 0
                self._next = min(self._next, self._clock() + _GAPS[0])

    def advanced(self, done: int, total: int) -> None:
        """Note how far it is."""
        with self._lock:
            self._pace.advanced(done, total)

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Write the step's line."""
        with self._lock:
            self._running = False
            self._line(summary(marker, again=again))

    def _line(self, text: str) -> None:
        self._write(plain(text).rstrip() + "\n")
        sys.stderr.flush()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn
    from rich.table import Column
    from rich.text import Text

    pace = Pace()

    class PaceColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(plain(f"{pace.step} {pace.told()}"), overflow="ellipsis")

    console = Console(stderr=True)
    bar: Any = [BarColumn(bar_width=24)] if console.width >= _WIDE else []
    told = PaceColumn(table_column=Column(no_wrap=True))
    columns = (SpinnerColumn(), *bar, told)
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars, console, pace)


class _Bars:
    """A moving line for the running step, a line that stays for each finished one."""

    def __init__(self, bars: Bars, console: Console, pace: Pace) -> None:
        self._bars, self._console, self._pace = bars, console, pace
        self._task: TaskID | None = None

    def started(self, step: str, rows: int) -> None:
        """Show the step's line."""
        self._pace.started(step, rows)
        self._task = self._bars.add_task(step, total=None)

    def doing(self, what: str, unit: str) -> None:
        """Say what the step is about."""
        self._pace.doing(what, unit)
        if self._task is not None:
            self._bars.update(self._task, completed=0, total=None)

    def advanced(self, done: int, total: int) -> None:
        """Move the bar."""
        self._pace.advanced(done, total)
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total or None)

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Replace the moving line by the step's own."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = None
        line = summary(marker, again=again)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
