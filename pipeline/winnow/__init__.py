"""Winnow: decide which training samples are worth keeping, and say why.

`winnow.run(recipe)` runs a recipe, `winnow.open(RUN)` opens what one has left. Every
name is imported when it is used: `import winnow` loads nothing else.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from winnow.api import load_recipe, open, open_lake, plan, run, scan
    from winnow.core.errors import (
        ConfigError,
        ConservationError,
        InputError,
        QueryError,
        RunError,
        WinnowError,
    )
    from winnow.demo.run import demo_run
    from winnow.filters.judge.downstream import Proxy
    from winnow.filters.judge.evaluate import Evaluation
    from winnow.filters.judge.evaluation_set import EvaluationColumns
    from winnow.filters.judge.leakage import Distances
    from winnow.filters.judge.selections import Choosing
    from winnow.filters.prove.prove import Proving
    from winnow.filters.prove.spend import Spending
    from winnow.filters.prove.tune import Tuning
    from winnow.filters.prove.weigh import Weighing
    from winnow.filters.train.classifier import ClassifierResult
    from winnow.filters.train.record import FilterResult
    from winnow.handles.analysing import analyze
    from winnow.handles.app_frame import AppFrame
    from winnow.handles.facts import Facts
    from winnow.handles.filters import compare_filters, evaluate_filter, train_filter
    from winnow.handles.finished_run import FinishedRun
    from winnow.handles.finished_scan import FinishedScan
    from winnow.handles.lake import Lake
    from winnow.handles.proof import budget, prove, tune, weigh
    from winnow.handles.rows import ArrowRows
    from winnow.handles.run import Run
    from winnow.handles.submitting import submit
    from winnow.handles.teaching import teacher_student
    from winnow.handles.text_index import TextIndex, index, open_index
    from winnow.handles.torch_rows import KeptDataset

# What polars freed half a second ago would be this process's for a second more, marked
# as the kernel's to take: a hundred MiB and more beside what a step holds. polars reads
# this when it is imported; what is set already stays.
os.environ.setdefault("_RJEM_MALLOC_CONF", "muzzy_decay_ms:0")

#: Where each public name lies, below this package.
_HOMES = {
    "run": "api",
    "plan": "api",
    "analyze": "handles.analysing",
    "open": "api",
    "load_recipe": "api",
    "scan": "api",
    "open_lake": "api",
    "index": "handles.text_index",
    "open_index": "handles.text_index",
    "train_filter": "handles.filters",
    "evaluate_filter": "handles.filters",
    "compare_filters": "handles.filters",
    "prove": "handles.proof",
    "tune": "handles.proof",
    "budget": "handles.proof",
    "weigh": "handles.proof",
    "submit": "handles.submitting",
    "demo_run": "demo.run",
    "teacher_student": "handles.teaching",
    "Run": "handles.run",
    "Lake": "handles.lake",
    "TextIndex": "handles.text_index",
    "ArrowRows": "handles.rows",
    "Facts": "handles.facts",
    "KeptDataset": "handles.torch_rows",
    "FinishedRun": "handles.finished_run",
    "FinishedScan": "handles.finished_scan",
    "AppFrame": "handles.app_frame",
    "FilterResult": "filters.train.record",
    "ClassifierResult": "filters.train.classifier",
    "Evaluation": "filters.judge.evaluate",
    "EvaluationColumns": "filters.judge.evaluation_set",
    "Distances": "filters.judge.leakage",
    "Choosing": "filters.judge.selections",
    "Proving": "filters.prove.prove",
    "Tuning": "filters.prove.tune",
    "Spending": "filters.prove.spend",
    "Weighing": "filters.prove.weigh",
    "Proxy": "filters.judge.downstream",
    "WinnowError": "core.errors",
    "ConfigError": "core.errors",
    "InputError": "core.errors",
    "RunError": "core.errors",
    "QueryError": "core.errors",
    "ConservationError": "core.errors",
}

__version__ = "0.1.0"
__all__ = [
    "AppFrame",
    "ArrowRows",
    "Choosing",
    "ClassifierResult",
    "ConfigError",
    "ConservationError",
    "Distances",
    "Evaluation",
    "EvaluationColumns",
    "Facts",
    "FilterResult",
    "FinishedRun",
    "FinishedScan",
    "InputError",
    "KeptDataset",
    "Lake",
    "Proving",
    "Proxy",
    "QueryError",
    "Run",
    "RunError",
    "Spending",
    "TextIndex",
    "Tuning",
    "Weighing",
    "WinnowError",
    "__version__",
    "analyze",
    "budget",
    "compare_filters",
    "demo_run",
    "evaluate_filter",
    "index",
    "load_recipe",
    "open",
    "open_index",
    "open_lake",
    "plan",
    "prove",
    "run",
    "scan",
    "submit",
    "teacher_student",
    "train_filter",
    "tune",
    "weigh",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'winnow' has no attribute '{name}'")
    try:
        value = getattr(import_module(f"winnow.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from winnow.core.extras import explained

        told = explained(error)
        if told is None:
            raise
        # Whoever only looks around (`hasattr`, completion) goes on.
        raise AttributeError(f"winnow.{name}: {told}") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name[:2] == "__")})
