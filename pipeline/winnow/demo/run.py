"""`winnow demo`: make the pool, prune it, judge what was caught and what was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from winnow import api
from winnow.config.recipes import dump, find, read
from winnow.config.run import parse
from winnow.core.progress import Progress, Silent
from winnow.core.run_folder import write_text
from winnow.demo import MODEL_FOLDER
from winnow.demo.judge import BUDGET_STEPS, judge, render
from winnow.demo.pool import make_pool
from winnow.handles.run import Run
from winnow.reports.run_view import RunView


def run_demo(
    folder: str | Path,
    rows: int,
    seed: int,
    progress: Progress,
    precision: str = "auto",
) -> dict[str, Any]:
    """Make a pool of `rows` scenes below `folder`, run the recipe `demo`, judge it.

    precision: what the model computes in, as `model.precision`. Returns plain
    values: the run's folder, survivor counts, and per defect and step what was planted,
    caught and lost.
    """
    folder = Path(folder)
    truth, recipe = _prepared(folder, rows, seed)
    recipe["model"]["precision"] = precision
    result = api.run(parse(recipe), progress=progress)
    verdict = judge(truth, fates(RunView(result.path)), budget_steps=BUDGET_STEPS)
    return {
        "pool": str(folder / "pool"),
        "run": str(result.path),
        "rows": result.rows,
        "kept": result.kept,
        "dropped": result.dropped,
        "quarantined": result.quarantined,
        "recall": verdict.recall,
        "good_lost": verdict.good_lost,
        "good": verdict.good,
        "defects": [_defect(row) for row in verdict.defects],
        "report": render(verdict),
    }


def demo_run(
    folder: str | Path = "winnow-demo",
    rows: int = 400,
    seed: int = 0,
    precision: str = "auto",
) -> Run:
    """Return a run to look at: over scenes with planted defects, made if need be.

    folder: where the pool and the run lie, or are made (half a minute for 400 rows).
    rows: scenes in the pool, if it is made.
    seed: of the scenes; with another seed, not one of them is the same.
    precision: what the model computes in: auto, bfloat16, float16 or float32. In
    float32 two processors differ in the last bits alone, so that a row or two near a
    threshold may fall otherwise. Raises ConfigError for another word.

    `winnow demo` makes the same and judges it.

    >>> winnow.demo_run("winnow-demo").steps()["step"].to_pylist()[:3]
    ['index', 'exact', 'rules']
    """
    made = Path(folder) / "run"
    if not (made / "manifest.json").is_file():
        run_demo(folder, rows, seed, Silent(), precision)
    return api.open(made)


def prepare_demo(folder: str | Path, rows: int, seed: int) -> Path:
    """Make the demo's pool and write its recipe below `folder`; run nothing.

    Whatever runs the recipe, `run_demo` with the same arguments judges it afterwards.
    """
    _, recipe = _prepared(Path(folder), rows, seed)
    recipe_file = Path(folder) / "recipe.yaml"
    write_text(recipe_file, dump(parse(recipe)))
    return recipe_file


def _prepared(folder: Path, rows: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return what was planted, and the recipe over it."""
    folder = folder.resolve()
    truth = make_pool(folder / "pool", rows=rows, seed=seed)
    recipe = read(find("demo"))
    recipe["input"]["path"] = str(folder / "pool" / "shards")
    recipe["model"]["name"] = f"local-dir:{MODEL_FOLDER}"
    recipe["output"]["path"] = str(folder / "run")
    return truth, recipe


def _defect(row: Any) -> dict[str, Any]:
    return {
        "defect": row.defect,
        "planted": row.planted,
        "caught": row.caught,
        "recall": row.recall,
        "by": row.mostly_by,
    }


def fates(run: RunView) -> pa.Table:
    """Return (uid, step, fate) of every decision and rejection of a run."""
    frames = []
    for marker in run.markers:
        step = pl.lit(marker.step).alias("step")
        if marker.decides:
            fate = pl.when("keep").then(pl.lit("kept")).otherwise(pl.lit("dropped"))
            frames.append(
                run.ledger(marker.step).select("uid", step, fate.alias("fate"))
            )
        if marker.quarantined:
            fate = pl.lit("quarantined").alias("fate")
            frames.append(run.rejects(marker.step).select("uid", step, fate))
    table: pa.Table = pl.concat(frames).collect().to_arrow()
    return table


def tell(verdict: dict[str, Any]) -> str:
    """Return the verdict as text, and what to look at next."""
    return (
        f"{verdict['report']}\n\n"
        f"{verdict['rows']:,} scenes: {verdict['kept']:,} kept, {verdict['dropped']:,} "
        f"dropped, {verdict['quarantined']:,} quarantined\n"
        f"Look further: winnow steps {verdict['run']}\n"
        f"              winnow explain {verdict['run']} UID"
    )
