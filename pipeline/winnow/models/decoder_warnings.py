"""What decoders warn of: logged with the row it is about, not on standard error.

Python hands a warning to one function for the whole process, and a filter that is put
around a call holds for all threads (before 3.14). So that function is wrapped once; it
looks at which thread is decoding, and leaves every other warning to the program. What
libtiff would print by itself goes the same way, and what Pillow logs is not printed
where nobody has set up logging.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TextIO

from winnow.core.run_log import DECODERS
from winnow.models.libtiff_messages import hand_on_libtiff

_decoding: ContextVar[bool] = ContextVar("winnow_decoding", default=False)


class _Shown:
    """Stands for `warnings.showwarning`: a thread that decodes logs, others do not."""

    def __init__(self, others: Any) -> None:
        self._others = others

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Log a warning, or hand it on."""
        if _decoding.get():
            DECODERS.warning("%s: %s", category.__name__, message)
        else:
            self._others(message, category, filename, lineno, file, line)


class _Unheard(logging.Handler):
    """Prints what Pillow logs where nobody else would, but not of what is read here."""

    def emit(self, record: logging.LogRecord) -> None:
        """Do as logging does without a handler."""
        bare = logging.lastResort
        if bare and not (_decoding.get() or logging.getLogger().handlers):
            bare.handle(record)


@cache
def _listen() -> None:
    hand_on_libtiff(_said)
    logging.getLogger("PIL").addHandler(_Unheard(logging.WARNING))


def _said(line: str) -> bool:
    """Log what libtiff says while this thread decodes; whether it was logged."""
    logs = _decoding.get()
    if logs:
        DECODERS.warning("%s", line)
    return logs


@contextmanager
def decoding() -> Iterator[None]:
    """Log what is warned of in this thread from here on."""
    _listen()
    shown = warnings.showwarning
    # What logs all warnings already does so here, too (`logging.captureWarnings`).
    if not isinstance(shown, _Shown) and shown.__module__ != logging.__name__:
        warnings.showwarning = _Shown(shown)
    token = _decoding.set(True)
    try:
        yield
    finally:
        _decoding.reset(token)
