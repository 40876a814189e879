"""Errors a user can act on; each says what, where, and what to do.

The exit codes are the command line's contract: 2 for usage and configuration, 3 for
input, 1 for anything else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WinnowError(Exception):
    """Base of every error that Winnow raises on purpose."""

    exit_code = 1


class ConfigError(WinnowError):
    """The recipe or the command line asks for something impossible or unknown."""

    exit_code = 2


class InputError(WinnowError):
    """The data cannot be used as it is; the message names file, column and remedy."""

    exit_code = 3


class RunError(WinnowError):
    """A run directory is not in the state that the command needs."""


class QueryError(WinnowError):
    """A query that cannot be answered: not allowed, wrong, or beyond its limits."""

    exit_code = 2


class ConservationError(WinnowError):
    """Rows in, kept, dropped and quarantined do not add up: a defect in Winnow."""


#: Known words that a hint lists; a lake or a pool may have thousands.
_LISTED = 40


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or lists those there are."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    more = len(names) - _LISTED
    some = ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
    return f"known: {some}" if names else ""
