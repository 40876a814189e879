"""The log in a run's folder: what was done there, and what went wrong, in full.

`RUN/winnow.log` holds what a terminal does not show: tracebacks, the warnings of
libraries, each with the row it is about. It is no part of the run: no fingerprint and
no marker knows it, and it never takes more than twice `MAX_BYTES`.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TypeVar

from winnow.core.marker import Marker
from winnow.core.progress import Progress, Telling
from winnow.core.terminal import plain

LOG_FILE = "winnow.log"
#: Of the log, and of the one before it, `winnow.log.1`.
MAX_BYTES = 2**20
#: Warnings of one kind that are written; a pool may have one in every image.
_OF_A_KIND = 50
_KINDS = 1_000
_Value = TypeVar("_Value")
_LETTERS = 60

#: What a run does. Not handed on to other loggers: a program that runs Winnow and
#: shows what is logged asked for no such lines.
EVENTS = logging.getLogger("winnow.events")
EVENTS.propagate = False
EVENTS.setLevel(logging.INFO)
# With none, Python would write them to standard error itself.
EVENTS.addHandler(logging.NullHandler())

#: What decoders of images warn of: for a run's log, and whoever asks for it.
DECODERS = logging.getLogger("winnow.decoders")
DECODERS.propagate = False
DECODERS.addHandler(logging.NullHandler())

_OWN = (EVENTS, DECODERS)

_row: ContextVar[str] = ContextVar("winnow_row", default="")


@contextmanager
def about_row(uid: str) -> Iterator[None]:
    """Have what is logged from here on in this thread name a row."""
    token = _row.set(uid)
    try:
        yield
    finally:
        _row.reset(token)


def told_of(uids: Iterable[Any], values: Iterable[_Value]) -> Iterator[_Value]:
    """Yield values, one for each row; what is logged meanwhile names the row.

    >>> [value + 1 for value in told_of(["a", "b"], [1, 2])]
    [2, 3]
    """
    for uid, value in zip(uids, values, strict=True):
        with about_row(str(uid)):
            yield value


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Write a log in a folder while a command works there; whatever ends it, too."""
    root = logging.getLogger()
    handler = _File(folder / LOG_FILE)
    # With a handler of ours, warnings would not be shown to whoever set up none.
    added = [handler] if root.handlers or not logging.lastResort else [handler, _Bare()]
    for one in added:
        root.addHandler(one)
    for logger in _OWN:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            # Each of them, since each is about another row.
            warnings.filterwarnings("always", module=r"PIL\.")
            yield
    except BaseException as error:
        name = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        EVENTS.error("%s: %r", name, error, exc_info=error)
        if handler.written:
            error.__dict__.setdefault(_NAMED, folder / LOG_FILE)
        raise
    finally:
        for logger in _OWN:
            logger.removeHandler(handler)
        for one in added:
            root.removeHandler(one)
        handler.close()


_NAMED = "_winnow_log"


def log_of(error: BaseException) -> Path | None:
    """Return the log that an error's traceback stands in."""
    path = error.__dict__.get(_NAMED)
    return path if isinstance(path, Path) else None


class LineFormatter(logging.Formatter):
    """One line for what is said, none of which a terminal obeys, and its row."""

    def formatException(self, ei: Any) -> str:
        """Return the traceback, which may quote data."""
        return plain(super().formatException(ei))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        row = _row.get()
        told = f"{row}: {record.message}" if row else record.message
        record.message = plain(" ".join(told.split()))
        return super().formatMessage(record)


class _File(RotatingFileHandler):
    """A bounded file, made with the first line; where none can be, nothing is said."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            maxBytes=MAX_BYTES,
            backupCount=1,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )
        self.setLevel(logging.INFO)
        self.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
        self.addFilter(_FewOfAKind())
        self.written = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self.written = True
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on without: a full disk is told where the run itself meets it."""
        self.written = False


class _Bare(logging.Handler):
    """Shows what Python would show without any handler, but what decoders log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(lambda record: not record.name.startswith("PIL."))

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record to the handler of last resort."""
        if logging.lastResort:
            logging.lastResort.handle(record)


class _FewOfAKind(logging.Filter):
    """Lets only so many warnings through that begin alike."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.name == EVENTS.name:
            return True
        kind = record.getMessage()[:_LETTERS]
        if kind not in self._seen and len(self._seen) >= _KINDS:
            return False
        self._seen[kind] += 1
        if self._seen[kind] == _OF_A_KIND:
            record.msg, record.args = f"{kind} … (no more of these)", ()
        return self._seen[kind] <= _OF_A_KIND


class LoggedProgress:
    """Hands on what a run tells, and logs it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def started(self, step: str, rows: int) -> None:
        """Log that a step begins."""
        EVENTS.info("%s: %d rows enter", step, rows)
        self._progress.started(step, rows)

    def doing(self, what: str, unit: str) -> None:
        """Log what the step is about."""
        if what:
            EVENTS.info("… %s", what)
        if isinstance(self._progress, Telling):
            self._progress.doing(what, unit)

    def advanced(self, done: int, total: int) -> None:
        """The pass that runs has come so far."""
        self._progress.advanced(done, total)

    def finished(self, marker: Marker, *, again: bool) -> None:
        """Log what became of the rows."""
        EVENTS.info(
            "%s: %d in, %d kept, %d quarantined, %s",
            marker.step,
            marker.rows_in,
            marker.kept,
            marker.quarantined,
            "done before" if again else f"{marker.seconds:.1f} s",
        )
        self._progress.finished(marker, again=again)
