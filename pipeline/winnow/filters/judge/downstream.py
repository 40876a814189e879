"""The downstream proxy: the same small CLIP trained on each selection.

What a filter is worth shows in what its selection trains (Fang et al. 2023, arXiv
2309.17425, §4): all selections have the same number of rows, all trainings the same
recipe, and every seed trains once on each, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from winnow.config.filter_train import FilterTrainConfig
from winnow.core.errors import ConfigError
from winnow.filters.judge.evaluation_set import (
    EvaluationColumns,
    EvaluationSet,
    load_set,
)
from winnow.filters.judge.selections import (
    FilterSelection,
    Selections,
    best,
    file_name,
)
from winnow.filters.prove.arms import METHOD, TrainedArm, difference
from winnow.filters.prove.recipe_proxy import (
    RecipeProxy,
    RecipeTraining,
    arm_of,
    plain_figures,
)

Result = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Proxy:
    """What `compare_filters` trains on each selection, and scores it on.

    recipe: from `load_recipe`, with `flow: filter_train`; its `data`, `output` and
        `seed` are replaced.
    held_out: images with captions that no selection holds; a path.
    out: folder of the trained models.
    seeds: trainings on each selection.

    >>> winnow.Proxy(winnow.load_recipe(filter_recipe), "pairs", Path("trained")).seeds
    3
    """

    recipe: FilterTrainConfig
    held_out: str
    out: Path
    seeds: int = 3


def downstream(chosen: Selections, proxy: Proxy, tell: Tell = lambda _: None) -> Result:
    """Train on every selection, score on the held-out set, compare with chance.

    Intervals as those of `winnow prove`; the random selection is another one with each
    seed. Selected rows that say what a held-out one says are not trained on;
    `trained_on` and `steps` tell. Raises ConfigError if the pool holds a held-out uid.
    """
    data = load_set(proxy.held_out, EvaluationColumns(uid=_uid_column(chosen.data)))
    _refuse_overlap(chosen.data, data)
    trainer = RecipeProxy(proxy.recipe, chosen.data, data, proxy.out)
    trained: dict[str, list[RecipeTraining]] = {}
    for selection in chosen.each:
        trained[selection.name] = []
        for seed in range(proxy.seeds):
            tell(f"training on the selection of {selection.name}, seed {seed}")
            kept = _kept(chosen, selection, seed)
            folder = file_name(selection.name)
            trained[selection.name].append(trainer.train(kept, folder, seed))
    arms = {name: arm_of(name, chosen.budget, each) for name, each in trained.items()}
    return {
        "held_out": proxy.held_out,
        "held_out_images": len(data),
        "rows": chosen.budget,
        "seeds": proxy.seeds,
        "method": METHOD,
        "selections": [_summary(arms[name], each) for name, each in trained.items()],
        "against_random": [
            {
                "selection": s.name,
                **difference(arms[s.name], arms[chosen.control.name], drawn=True),
            }
            for s in chosen.filters
        ],
    }


def _kept(chosen: Selections, selection: FilterSelection, seed: int) -> set[str]:
    """Return the uids of a selection; those by chance are others with each seed."""
    keep = selection.keep
    if selection is chosen.control and seed:
        chance = chosen.data.keys(f"random selection, seed {seed}").astype(np.float64)
        keep = best(chance, chosen.data.uids, chosen.budget)
    uids = zip(chosen.data.uids, keep.tolist(), strict=True)
    return {uid for uid, kept in uids if kept}


def _summary(arm: TrainedArm, each: list[RecipeTraining]) -> Result:
    summary = arm.summary()
    return {
        **summary,
        "selection": arm.name,
        "trained_on": each[0].trained_on,
        "steps": each[0].steps,
        "by_seed": [plain_figures(run) for run in each],
    }


def _uid_column(pool: EvaluationSet) -> str:
    if pool.given.uid is None:
        raise ConfigError(
            f"{pool.given.path}: --downstream tells rows apart by uids, and the pool "
            "has no such column; name it with --uid"
        )
    return pool.given.uid


def _refuse_overlap(pool: EvaluationSet, held_out: EvaluationSet) -> None:
    both = set(pool.uids) & set(held_out.uids)
    if both:
        raise ConfigError(
            f"{held_out.given.path}: {len(both)} of its uids stand in the pool too, "
            f"among them '{min(both)}'; hold out rows that no selection can hold"
        )
