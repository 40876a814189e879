"""Another setting, tried on a run: its decisions again, from what is stored.

The changed recipe is run in a folder of its own that goes afterwards. Steps that do not
depend on the change are taken over from the run by their fingerprints, their files
linked, not copied; those that do reuse stored vectors, neighbours and similarities. The
result is that of a full run, without its outputs; the run itself is not touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from winnow.config.lock_file import load_lock
from winnow.config.run import RunConfig, kind_of
from winnow.config.step_kinds import APPLY
from winnow.core.errors import ConfigError, RunError
from winnow.core.integrity import with_check
from winnow.core.progress import Progress, Silent
from winnow.core.run_folder import MANIFEST, RunFolder, write_text
from winnow.core.saved_files import read_manifest
from winnow.core.scratch import scratch_folder
from winnow.flows.image_text import Planned
from winnow.flows.runner import EngineFactory, Recipe, run_steps
from winnow.flows.taking_over import Sources
from winnow.flows.this_machine import on_this_machine
from winnow.reports.diff import diff
from winnow.reports.diff import tell as tell_diff
from winnow.steps.contract import Context


@dataclass(frozen=True)
class Tried:
    """A run under other settings: its folder, and the steps that had to run."""

    path: Path
    ran: list[str]


def what_if(
    run: str | Path,
    overrides: Sequence[str],
    make_engine: EngineFactory,
    *,
    embed: bool = False,
    examples: int = 10,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return how a run's decisions would differ under `section.key=value` settings.

    A dictionary as `diff` gives it, A the run as it is and B under the settings, with
    `set` and `ran` (the steps that were decided anew). Raises ConfigError if the
    settings are wrong or rows would have to be embedded (unless `embed`), and RunError
    if the folder holds no finished run.
    """
    with tried(run, overrides, make_engine, embed=embed, progress=progress) as other:
        difference = diff(run, other.path, examples)
    difference["runs"]["b"] = " ".join(overrides)
    return {"set": list(overrides), "ran": other.ran, **difference}


def sweep(
    run: str | Path,
    key: str,
    values: Sequence[object],
    make_engine: EngineFactory,
) -> list[dict[str, Any]]:
    """Return what a run would keep under each value of one setting.

    One row for each value: `value`, `kept`, the rows that come and go against the run
    as it is (`gained`, `lost`), and the Jaccard similarity of the two selections.
    Raises what `what_if` raises.
    """
    rows = []
    for value in values:
        kept = what_if(run, [f"{key}={value}"], make_engine, examples=0)["kept"]
        rows.append(
            {
                "value": value,
                "kept": kept["b"],
                "gained": kept["only_b"],
                "lost": kept["only_a"],
                "jaccard": kept["jaccard"],
            }
        )
    return rows


@contextmanager
def tried(
    run: str | Path,
    overrides: Sequence[str],
    make_engine: EngineFactory,
    *,
    embed: bool = False,
    progress: Progress | None = None,
) -> Iterator[Tried]:
    """Run every deciding step under other settings in a folder that goes afterwards."""
    folder = RunFolder(run)
    if not folder.markers() or not folder.finished:
        raise RunError(f"{run} is not finished; the same `winnow run` goes on")
    with _beside(folder.path) as copy:
        recipe = Recipe.of(_changed(folder, overrides, copy))
        here = on_this_machine(recipe.config, recipe.pool.rows)
        recipe = replace(recipe, config=here)
        work = RunFolder(copy)
        with work.locked():
            session = run_steps(
                recipe,
                work,
                Sources([folder]),
                make_engine,
                progress or Silent(),
                _allow_all if embed else _require_vectors,
            )
        _close(work, folder)
        yield Tried(copy, session.ran)


def _close(work: RunFolder, folder: RunFolder) -> None:
    """Give a copy the manifest of its run, which also says where the input is.

    The copy is whole but for its outputs: those that the manifest seals are not there.
    """
    said = read_manifest(folder.file(MANIFEST))
    kept = {name: said[name] for name in said if name not in ("files", "check")}
    write_text(work.file(MANIFEST), json.dumps(with_check(kept)))


def _changed(folder: RunFolder, overrides: Sequence[str], copy: Path) -> RunConfig:
    config = load_lock(folder, overrides, copy)
    kept = tuple(step for step in config.steps if kind_of(step) != APPLY)
    sections = {name: config.sections[name] for name in kept}
    return config.model_copy(update={"steps": kept, "sections": sections})


@contextmanager
def _beside(run: Path) -> Iterator[Path]:
    """Yield a folder that goes afterwards; beside the run, if one may write there."""
    parent = run.resolve().parent
    beside = parent if os.access(parent, os.W_OK) else None
    with scratch_folder(beside, ".winnow-what-if-") as folder:
        yield folder / "run"


def _allow_all(step: Planned, context: Context) -> None:
    """Let a step embed what it has no vector for."""


def _require_vectors(step: Planned, context: Context) -> None:
    """Raise ConfigError if a step would have to embed rows."""
    lacking = _without_vector(context) if _uses_model(step) else 0
    if lacking:
        raise ConfigError(
            f"{step.name}: {lacking:,} rows of {context.rows:,} have no stored vector "
            "under these settings and would have to be embedded; --embed does that"
        )


def _uses_model(step: Planned) -> bool:
    """Whether a step embeds samples by a model, the recipe's or its own."""
    own_model = getattr(step.config, "model", None)
    return own_model is not None or "model" in step.contract.depends_on


def _without_vector(context: Context) -> int:
    """Return how many rows that enter a step have no vector of an earlier run."""
    engine = context.engine
    stored = context.reusable / "vectors" if context.reusable else None
    if stored is None or not stored.is_dir():
        return context.rows
    known = engine.scan(os.fspath(stored), ["uid"])
    return engine.count(engine.join(context.samples, known, "uid", "anti"))


def tell(difference: dict[str, Any]) -> str:
    """Return the difference as text: counts per step, then rows."""
    lines = [f"{'step':<14}{'kept now':>12}{'kept then':>12}{'difference':>12}"]
    for step in difference["steps"]:
        now, then = step["kept_a"], step["kept_b"]
        if step["rows_in_b"] is None or step["rows_in_a"] is None:
            continue
        again = "  (decided again)" if step["step"] in difference["ran"] else ""
        lines.append(
            f"{step['step']:<14}{now:>12,}{then:>12,}{then - now:>+12,}{again}"
        )
    return "\n".join([*lines, "", tell_diff(difference)])
