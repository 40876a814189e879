"""What the groups of commands share: arguments that mean the same, and JSON.

May import: core.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any


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


def print_json(value: Any) -> None:
    """Print plain values as JSON; what JSON has no number for (inf, NaN) is null."""
    print(json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False))


def say(line: str) -> None:
    """Write a line of progress to standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def silent(line: str) -> None:
    """Say nothing."""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
