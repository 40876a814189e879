"""What the groups of commands share: arguments that mean the same, and JSON.

May import: core.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from typing import Any, TextIO

from winnow.cli.numbers import natural
from winnow.core.terminal import plain

#: Control signs that JSON need not escape, and a terminal obeys.
_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def set_argument(
    parser: argparse.ArgumentParser,
    form: str = "SECTION.KEY=VALUE",
    what: str = "a setting",
) -> None:
    """Add `--set`, as `overrides`; `form` and `what` are for the help."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar=form,
        dest="overrides",
        help=f"change {what}; may be repeated",
    )


def show(text: object) -> None:
    """Print a text, in which data may stand: a terminal obeys none of it."""
    print(plain(str(text)))


class PlainOut:
    """A terminal to write to that obeys nothing of it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """Write a text with its control signs written out."""
        return self._out.write(plain(text))


def print_json(value: Any) -> None:
    """Print plain values as JSON; what JSON has no number for (inf, NaN) is null."""
    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    print(_OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text))


def say(line: str) -> None:
    """Write a line of progress to standard error."""
    sys.stderr.write(plain(line) + "\n")
    sys.stderr.flush()


def silent(line: str) -> None:
    """Say nothing."""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def examples_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--examples N`."""
    parser.add_argument(
        "--examples",
        type=natural,
        default=10,
        metavar="N",
        help="rows shown of each kind",
    )


def print_values(value: Any) -> None:
    """Print what a query gives (dates, decimals, bytes) as JSON."""
    from winnow.reports.rows_out import as_json

    print_json(as_json(value))
