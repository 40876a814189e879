"""A proof by a whole model: `winnow prove --recipe`, trained from the pool's images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import digest, keys
from winnow.filters.judge.evaluation_set import (
    EvaluationColumns,
    EvaluationSet,
    image_bytes,
    load_set,
)
from winnow.filters.judge.selections import file_name
from winnow.filters.prove.arms import METHOD
from winnow.filters.prove.recipe_proxy import RecipeProxy, RecipeTraining, arm_of
from winnow.filters.prove.stored_rows import kept_draws
from winnow.filters.prove.verdict import compared
from winnow.reports.run_view import RunView

if TYPE_CHECKING:
    from winnow.filters.prove.prove import Proving

Result = dict[str, Any]
Tell = Callable[[str], None]

_EXAMPLES = 5
_BLOCK_ROWS = 1024


def prove_by_recipe(
    runs: Sequence[Path], held_out: str, how: Proving, out: Path | None, tell: Tell
) -> Result:
    """Return what the recipe's model learns from kept, random and all rows.

    Every row that a run keeps counts once. Raises ConfigError if the pool has no uids,
    images or captions of its own, or is of several folders.
    """
    assert how.recipe is not None
    pool = _pool(runs[0])
    given = pool.given
    columns = EvaluationColumns(str(given.image), None, given.uid)
    held, leaks = _without_leaks(pool, load_set(held_out, columns))
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="winnow-prove-")
        work = out or Path(stack.enter_context(scratch))
        trainer = RecipeProxy(how.recipe, pool, held, work / "trained")
        proofs = [
            _prove_run(run, trainer, how.seeds, f"{i + 1}", tell)
            for i, run in enumerate(runs)
        ]
    return {
        "held_out": held_out,
        "held_out_rows": len(held),
        "leaks": {"rows": len(leaks), "examples": leaks[:_EXAMPLES]},
        "near_copies": None,
        "pool_rows": len(pool),
        "proxy": "the recipe's model, trained from images and captions",
        "metric": "auc_random",
        "seeds": how.seeds,
        "epochs": how.recipe.optimise.epochs,
        "method": METHOD,
        "runs": proofs,
    }


def _pool(run: Path) -> EvaluationSet:
    given = RunView(run).config["input"]
    columns, paths = given["columns"], given["path"]
    if None in (columns["uid"], columns["image"], columns["text"]):
        raise ConfigError(
            f"{run}: a --recipe trains on images with captions and uids, and the pool "
            "lacks a column of one; without --recipe, heads learn from its vectors"
        )
    if len(paths) != 1:
        raise ConfigError(
            f"{run}: its pool lies in {len(paths)} places; --recipe takes one of one"
        )
    return load_set(
        paths[0], EvaluationColumns(columns["image"], columns["text"], columns["uid"])
    )


def _without_leaks(
    pool: EvaluationSet, held_out: EvaluationSet
) -> tuple[EvaluationSet, list[str]]:
    """Return the held-out images that the pool lacks, and the uids of the others."""
    known = set(_digests(pool))
    contents = _digests(held_out)
    clean = np.array([content not in known for content in contents], np.bool_)
    shared = clean & np.isin(held_out.uids, pool.uids)
    if shared.any():
        first = held_out.uids[int(np.flatnonzero(shared)[0])]
        raise InputError(
            f"{held_out.given.path}: '{first}' is another image's name in the pool; "
            "uids tell rows apart, so give held-out rows their own"
        )
    leaks = [u for u, c in zip(held_out.uids, clean.tolist(), strict=True) if not c]
    if clean.sum() < 2:
        raise InputError(
            f"{len(leaks):,} of {len(held_out):,} held-out rows stand in the pool, "
            "content for content; hold out rows that no run was given"
        )
    return held_out.only(clean), leaks


def _digests(data: EvaluationSet) -> list[bytes]:
    digests: list[bytes] = []
    for start in range(0, len(data), _BLOCK_ROWS):
        rows = range(start, min(len(data), start + _BLOCK_ROWS))
        images = image_bytes(data, rows)
        digests += [digest(images.get(row) or b"") for row in rows]
    return digests


def _prove_run(
    run: Path, trainer: RecipeProxy, seeds: int, mark: str, tell: Tell
) -> Result:
    everyone = trainer.pool.uids
    kept = sorted(set(kept_draws(run)) & set(everyone))
    if not kept:
        raise InputError(f"{run} keeps no row with an image and a caption")
    epochs = trainer.recipe.optimise.epochs

    def random(seed: int) -> Collection[str]:
        order = np.argsort(keys(everyone, f"proof {seed}"), kind="stable")
        return {everyone[row] for row in order[: len(kept)].tolist()}

    plans: list[tuple[str, Callable[[int], Collection[str]], float, int]] = [
        ("kept", lambda _: set(kept), epochs, len(kept)),
        ("random", random, epochs, len(kept)),
        # As many steps: each row is seen less often.
        (
            "whole pool",
            lambda _: set(everyone),
            epochs * len(kept) / len(everyone),
            len(everyone),
        ),
    ]
    arms, steps = [], 0
    for name, rows, seen, count in plans:
        each: list[RecipeTraining] = []
        for seed in range(seeds):
            tell(f"{run}: training on {name} rows, seed {seed}")
            folder = f"{mark}-{file_name(name)}-{seed}"
            each.append(trainer.train(rows(seed), folder, seed, seen))
        steps = steps or each[0].steps
        arms.append(arm_of(name, count, each))
    return {
        "run": str(run),
        "kept": len(kept),
        "budget": len(kept),
        "share": len(kept) / len(everyone),
        "steps": steps,
        **compared(str(run), arms, "auc_random", len(kept)),
    }
