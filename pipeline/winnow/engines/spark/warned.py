"""What libraries warn of in workers, brought to the driver, which has the log."""

from __future__ import annotations

import logging
import warnings
from functools import cache

from pyspark.accumulators import AccumulatorParam

from winnow.core.run_log import DECODERS, LineFormatter

#: Lines of one task, and of one step.
_LINES, _OF_STEP = 20, 1_000


class WarnedParam(AccumulatorParam[list[str]]):
    """Gathers lines, up to a bound."""

    def zero(self, value: list[str]) -> list[str]:
        """Return none."""
        return []

    def addInPlace(self, value1: list[str], value2: list[str]) -> list[str]:
        """Return the lines of both."""
        return (value1 + value2)[:_OF_STEP]


class _Kept(logging.Handler):
    """Keeps lines until they are taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(LineFormatter("%(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; after so many, none."""
        if len(self.lines) < _LINES:
            self.lines.append(self.format(record).partition("\n")[0])


@cache
def _handler() -> _Kept:
    handler = _Kept()
    logging.getLogger().addHandler(handler)
    DECODERS.addHandler(handler)
    logging.captureWarnings(True)
    warnings.filterwarnings("always", module=r"PIL\.")
    return handler


def keep_warnings() -> None:
    """Keep, from here on, what this worker's libraries warn of off standard error."""
    _handler()


def take_warnings() -> list[str]:
    """Return what was warned of since the last time."""
    handler = _handler()
    lines, handler.lines = handler.lines, []
    return lines
