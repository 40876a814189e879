"""What a command says of itself on standard error, beside its progress.

May import: core.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from winnow.core.run_log import DECODERS, EVENTS, LineFormatter

_OURS = "winnow"


def volume_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `-v` and `-q`."""
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="say what is done, and what libraries warn of",
    )
    volume.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="no progress, no warnings: the result, and errors",
    )


@contextmanager
def speaking(parsed: argparse.Namespace) -> Iterator[None]:
    """Have what is logged said as loudly as was asked for, while a command runs.

    Warnings of Winnow's own are shown; those of libraries with `-v` only. In a run's
    log stand all of them.
    """
    verbose, quiet = parsed.verbose, parsed.quiet
    ours, root, handler = logging.getLogger(_OURS), logging.getLogger(), _Errors()
    handler.addFilter(lambda record: verbose or record.name.startswith(f"{_OURS}."))
    handler.setLevel(logging.ERROR if quiet else logging.NOTSET)
    level = ours.level
    root.addHandler(handler)
    if verbose:
        ours.setLevel(logging.INFO)
        EVENTS.addHandler(handler)
        DECODERS.addHandler(handler)
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            # Each of them, since each is about another row.
            warnings.filterwarnings("always", module=r"PIL\.")
            yield
    finally:
        logging.captureWarnings(False)
        EVENTS.removeHandler(handler)
        DECODERS.removeHandler(handler)
        ours.setLevel(level)
        root.removeHandler(handler)


class _Errors(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes lines, and no traceback, to whatever standard error is by then."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_Line("winnow: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on: nobody may be left to read it."""


class _Line(LineFormatter):
    def formatException(self, ei: object) -> str:
        """Say nothing of where; a log does."""
        return ""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line, whatever another handler has noted of the record."""
        kept, record.exc_text = record.exc_text, None
        line = super().format(record).rstrip("\n")
        record.exc_text = kept
        return line
