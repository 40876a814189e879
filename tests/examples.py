"""How many examples a property test draws: some in every run, all beside soak tests."""

from __future__ import annotations

import os

_ALL = "WINNOW_ALL_EXAMPLES"


def draw_all() -> None:
    """Let `examples` return all; called before test modules are imported."""
    os.environ[_ALL] = "1"


def examples(some: int, every: int) -> int:
    """Return `every` where soak tests run (`make test-all`), else `some`."""
    return every if os.environ.get(_ALL) else some
