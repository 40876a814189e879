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
import numpy.typing as npt

from winnow.algorithms.filter.intervals import Interval, paired_bootstrap, t_interval
from winnow.algorithms.filter.ranking_quality import rank_auc
from winnow.config.filter_train import (
    FilterTrainConfig,
    HoldOut,
    PairColumns,
    PairPool,
    parse,
)
from winnow.core.errors import ConfigError
from winnow.filters.judge.evaluation_set import (
    EvaluationColumns,
    EvaluationSet,
    load_set,
    model_of,
    with_image_vectors,
)
from winnow.filters.judge.pair_scores import Floats, retrieval, score_random_pairs
from winnow.filters.judge.selections import FilterSelection, Selections, file_name
from winnow.filters.train.run import train_filter
from winnow.steps.outside_sets import read_outside

Result = dict[str, Any]
Tell = Callable[[str], None]

METRICS = ("auc_random", "recall_at_1", "recall_at_5", "recall_at_10")


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

    Intervals of 95 %: over seeds, Student's; over held-out images, a paired bootstrap
    of R@5 averaged over seeds. Selected rows that say what a held-out one says are not
    trained on; `trained_on` and `steps` tell. Raises ConfigError if the pool holds a
    held-out uid.
    """
    data = load_set(proxy.held_out, EvaluationColumns(uid=_uid_column(chosen.data)))
    _refuse_overlap(chosen.data, data)
    runs = {
        selection.name: [
            _train(chosen, selection, data, proxy, seed, tell)
            for seed in range(proxy.seeds)
        ]
        for selection in chosen.each
    }
    chance = runs[chosen.control.name]
    return {
        "held_out": proxy.held_out,
        "held_out_images": len(data),
        "rows": chosen.budget,
        "seeds": proxy.seeds,
        "selections": [
            {"selection": name, **_summary(each)} for name, each in runs.items()
        ],
        "against_random": [
            {"selection": s.name, **_difference(runs[s.name], chance)}
            for s in chosen.filters
        ],
    }


@dataclass(frozen=True)
class TrainedOnSelection:
    """One training: its figures, steps, and which images found a caption among 5."""

    figures: dict[str, float]
    steps: int
    trained_on: int
    hits: npt.NDArray[np.bool_]


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


def _train(
    selections: Selections,
    selection: FilterSelection,
    data: EvaluationSet,
    proxy: Proxy,
    seed: int,
    tell: Tell,
) -> TrainedOnSelection:
    folder = proxy.out / file_name(selection.name)
    config = _recipe(selections, selection, data, proxy, folder, seed)
    tell(f"training on the selection of {selection.name}, seed {seed}")
    result = train_filter(config, tell=lambda _: None)
    places, scores = _judge(data, result.name)
    return TrainedOnSelection(scores, result.steps, result.trained_on, places <= 5)


def _recipe(
    selections: Selections,
    selection: FilterSelection,
    data: EvaluationSet,
    proxy: Proxy,
    folder: Path,
    seed: int,
) -> FilterTrainConfig:
    """Return the proxy's recipe with a pool that lacks what was not selected."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = zip(selections.data.uids, selection.keep, strict=True)
    kept = {uid for uid, keep in uids if keep}
    everyone = load_uids(selections.data)
    without, held = folder / "not_selected.txt", folder / "held_out.txt"
    without.write_text("".join(f"{u}\n" for u in everyone if u not in kept))
    held.write_text("".join(f"{uid}\n" for uid in data.uids))
    pool = selections.data.given
    plain = proxy.recipe.as_recipe()
    plain["data"] = [
        PairPool(
            path=(pool.path,),
            columns=_columns(selections.data),
            without=str(without),
            hold_out=HoldOut(fraction=0.0),
        ).model_dump(mode="json"),
        PairPool(
            path=(data.given.path,),
            columns=_columns(data),
            hold_out=HoldOut(uids=str(held)),
        ).model_dump(mode="json"),
    ]
    plain["output"] |= {
        "path": str(folder / f"seed-{seed}"),
        "cache": str(folder / "cache"),
    }
    plain["seed"] = seed
    return parse(plain)


def _columns(data: EvaluationSet) -> PairColumns:
    given = data.given
    return PairColumns(uid=str(given.uid), image=str(given.image), text=str(given.text))


def load_uids(data: EvaluationSet) -> list[str]:
    """Return the uids of all rows of the data, those that are not in the set too."""
    return [
        uid
        for part in read_outside(data.given, ())
        for uid in part.column("uid").to_pylist()
    ]


def _judge(data: EvaluationSet, model: str) -> tuple[npt.NDArray[np.int64], Any]:
    spec = model_of(model)
    data, images = with_image_vectors(data, spec)
    right, random, vectors = score_random_pairs(data, spec, images)
    places, _, _ = retrieval(data, images, vectors)
    known: Floats = random[~np.isnan(random)]
    return places, {
        "auc_random": rank_auc(right, known),
        **{f"recall_at_{k}": float((places <= k).mean()) for k in (1, 5, 10)},
    }


def _summary(runs: list[TrainedOnSelection]) -> Result:
    return {
        "trained_on": runs[0].trained_on,
        "steps": runs[0].steps,
        "by_seed": [run.figures for run in runs],
        **{
            name: _plain(t_interval(np.array([run.figures[name] for run in runs])))
            for name in METRICS
        },
    }


def _difference(
    runs: list[TrainedOnSelection], chance: list[TrainedOnSelection]
) -> Result:
    differences: Result = {}
    for name in METRICS:
        gaps = [
            run.figures[name] - other.figures[name]
            for run, other in zip(runs, chance, strict=True)
        ]
        interval = t_interval(np.array(gaps))
        differences[name] = {
            **_plain(interval),
            "by_seed": gaps,
            "better": interval.low > 0,
        }
    hits = np.mean([run.hits for run in runs], axis=0)
    other = np.mean([run.hits for run in chance], axis=0)
    differences["recall_at_5_over_images"] = _plain(paired_bootstrap(hits - other))
    return differences


def _plain(interval: Interval) -> Result:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
