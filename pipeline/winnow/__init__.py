"""Winnow: decide which training samples are worth keeping, and say why.

`winnow.run(config)` runs a recipe; everything heavy is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from winnow.api import FilterResult, LakeResult, RunResult, run, train_filter

__all__ = [
    "FilterResult",
    "LakeResult",
    "RunResult",
    "__version__",
    "run",
    "train_filter",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        from winnow import api

        return getattr(api, name)
    raise AttributeError(f"module 'winnow' has no attribute '{name}'")
