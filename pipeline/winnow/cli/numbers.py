"""Numbers of the command line: a wrong one is refused before any work.

May import: the standard library.
"""

from __future__ import annotations

import argparse
import math

#: More rows, or a larger seed, than anything here counts to.
_MOST = 2**63


def finite(text: str) -> float:
    """Return a number that is neither infinite nor none at all."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}': give a finite number")
    return value


def above_zero(text: str) -> float:
    """Return a finite number above 0."""
    value = finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"'{text}': give a number above 0")
    return value


def natural(text: str) -> int:
    """Return a whole number, 0 or more."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """Return a whole number, 1 or more."""
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    try:
        # Beyond so many digits Python refuses to convert.
        value = int(text[:30])
    except ValueError:
        value = -1
    if not least <= value < _MOST or len(text) > 30:
        raise argparse.ArgumentTypeError(
            f"'{text[:40]}': give a whole number, {least} or more"
        )
    return value
