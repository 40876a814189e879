"""A look at a pool before anything is pruned, from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.config.run import parse
from winnow.config.settings import as_overrides
from winnow.handles.engine import make_engine
from winnow.handles.facts import Facts
from winnow.handles.memory_pool import pool_in_memory

if TYPE_CHECKING:
    from winnow.core.progress import Progress


def analyze(  # noqa: PLR0913 - what is looked at, and how a run is told
    pool: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    sample: int | None = 10_000,
    set: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    replace: bool = False,
) -> Facts:
    """Look at a pool before anything is pruned: what is in it, what would be taken.

    pool: a folder, a file, a glob or a URL, a list of these, or samples in memory, as
        `run` takes them.
    out: folder of the analysis, a run like any other. None: `runs/analysis`.
    model: an open_clip architecture, or the folder of a local model, by which rows are
        compared and clustered. None: nothing is embedded.
    sample: rows that are looked at, drawn by uid hash. None: all.
    set: settings to change, as for `run`. Columns are told by their names; others are
        named so: `{"input.columns.text": "blurb"}`.
    progress: told of every step, as for `run`.
    replace: whether another run, which the folder holds, may go.

    It runs the steps of the shipped recipe that fits (`image_text`, `photo_audit` or
    `text_dedup`), and the quality of pictures or texts, and applies nothing. Returns
    `rows`, `looked_at`, `images` and `captions` (their spread, and languages by
    fastText's lid.176), the largest `reasons`, what each of `steps` would take, and
    `page`, the file that shows it all. Raises what `run` raises.

    >>> seen = winnow.analyze("pool", "runs/look")
    >>> seen["rows"], seen["steps"][0]["step"]
    (60, 'exact')
    >>> "60 rows" in str(seen)
    True
    """
    target = os.fspath(out) if out is not None else "runs/analysis"
    whole = {"input": {"path": pool}, "output": {"path": target}, "steps": ["apply"]}
    given = pool_in_memory(whole, None)
    asked: dict[str, Any] = {
        "model": None if model is None else os.fspath(model),
        "sample": sample,
        "overrides": [*as_overrides(set), f"output.path={target}"],
        "progress": progress,
        "replace": replace,
    }
    if given is None:
        return _analyzed(pool, **asked)
    with given.written() as settings:
        return _analyzed(settings["input.path"], **asked)


def _analyzed(
    path: Any,
    *,
    model: str | None,
    sample: int | None,
    overrides: list[str],
    progress: Progress | None,
    replace: bool,
) -> Facts:
    from winnow.flows import runner
    from winnow.flows.analysis import DRAWING, analysis_recipe
    from winnow.reports.page.analysis import tell, write_analysis

    paths = [os.fspath(p) for p in path] if isinstance(path, list | tuple) else path
    recipe = analysis_recipe(
        os.fspath(paths) if isinstance(paths, Path) else paths,
        sample=sample,
        model=model,
        overrides=overrides,
    )
    result = runner.run(parse(recipe), make_engine, progress, replace_other=replace)
    return Facts(write_analysis(result.path, DRAWING), tell)
