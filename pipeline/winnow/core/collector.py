"""Python's collector of reference cycles, less often at work.

Work that makes very many small objects and keeps them, as a catalogue of tables does,
has the collector go through all of them again and again, and find nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: New objects between two looks at the youngest (Python's own figure is 700 or 2,000),
#: and how many of those there are between two looks at older ones.
_SELDOM = 200_000, 50, 10


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for unreachable cycles seldom, for as long as this lasts.

    A collector that is off, or that looks still less often, is left as it is.

    >>> with seldom_collected():
    ...     gc.get_threshold()[0]
    200000
    """
    before = gc.get_threshold()
    if 0 < before[0] < _SELDOM[0]:
        gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
