"""A whole model by a filter's recipe, trained on some rows of a pool of images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from winnow.algorithms.filter.per_image import auc_by_image
from winnow.config.filter_train import (
    FilterTrainConfig,
    HoldOut,
    PairColumns,
    PairPool,
    parse,
)
from winnow.filters.judge.evaluation_set import (
    EvaluationSet,
    Ids,
    load_uids,
    model_of,
    with_image_vectors,
)
from winnow.filters.judge.pair_scores import retrieval, score_random_pairs
from winnow.filters.prove.arms import Floats, TrainedArm
from winnow.filters.train.run import train_filter


@dataclass(frozen=True)
class RecipeTraining:
    """One training: its figures by held-out image, its steps, the rows it used."""

    figures: dict[str, Floats]
    steps: int
    trained_on: int


@dataclass(frozen=True)
class RecipeProxy:
    """The model of a recipe, trained from images and captions.

    recipe: its `data`, `output` and `seed` are replaced. pool, held_out: both with
    uids. out: folder of the trained models, one below it for each selection.
    """

    recipe: FilterTrainConfig
    pool: EvaluationSet
    held_out: EvaluationSet
    out: Path

    def train(
        self, kept: Collection[str], name: str, seed: int, epochs: float | None = None
    ) -> RecipeTraining:
        """Train on the rows called `kept`, in OUT/NAME/seed-SEED.

        epochs: how often each is seen; None: as the recipe says. Rows that say what a
        held-out one says are not trained on.
        """
        config = self._recipe(kept, self.out / name, seed, epochs)
        result = train_filter(config, tell=lambda _: None)
        return RecipeTraining(self._judge(result.name), result.steps, result.trained_on)

    def _recipe(
        self, kept: Collection[str], folder: Path, seed: int, epochs: float | None
    ) -> FilterTrainConfig:
        """Return the recipe with a pool that lacks what was not selected."""
        folder.mkdir(parents=True, exist_ok=True)
        everyone = load_uids(self.pool)
        without, held = folder / "not_selected.txt", folder / "held_out.txt"
        without.write_text("".join(f"{u}\n" for u in everyone if u not in kept))
        held.write_text("".join(f"{uid}\n" for uid in self.held_out.uids))
        plain = self.recipe.as_recipe()
        plain["data"] = [
            PairPool(
                path=(self.pool.given.path,),
                columns=_columns(self.pool),
                without=str(without),
                hold_out=HoldOut(fraction=0.0),
            ).model_dump(mode="json"),
            PairPool(
                path=(self.held_out.given.path,),
                columns=_columns(self.held_out),
                hold_out=HoldOut(uids=str(held)),
            ).model_dump(mode="json"),
        ]
        plain["output"] |= {
            "path": str(folder / f"seed-{seed}"),
            "cache": str(folder / "cache"),
        }
        plain["seed"] = seed
        if epochs is not None:
            plain["optimise"]["epochs"] = epochs
        # The last weights are judged: the held-out rows choose none of them.
        plain["optimise"]["eval_every"] = plain["optimise"]["epochs"]
        return parse(plain)

    def _judge(self, model: str) -> dict[str, Floats]:
        spec = model_of(model)
        data, images = with_image_vectors(self.held_out, spec)
        right, random, vectors = score_random_pairs(data, spec, images)
        places, _, _ = retrieval(data, images, vectors)
        pair_rows = np.repeat(np.arange(len(data)), [len(c) for c in data.captions])
        by_pair = auc_by_image(right, random[:, None])
        return {
            "auc_random": _by_image(by_pair, pair_rows, len(data)),
            **{f"recall_at_{k}": (places <= k).astype(float) for k in (1, 5, 10)},
        }


def _by_image(by_pair: Floats, rows: Ids, images: int) -> Floats:
    """Return each image's part in a mean over pairs, so that their mean is that."""
    sums = np.bincount(rows, by_pair, images)
    return np.asarray(sums * (images / len(by_pair)), np.float64)


def _columns(data: EvaluationSet) -> PairColumns:
    given = data.given
    return PairColumns(uid=str(given.uid), image=str(given.image), text=str(given.text))


def plain_figures(training: RecipeTraining) -> dict[str, Any]:
    """Return the figures as numbers."""
    return {name: float(values.mean()) for name, values in training.figures.items()}


def arm_of(name: str, rows: int, each: Sequence[RecipeTraining]) -> TrainedArm:
    """Return the trainings of one selection, one for each seed, as what is compared."""
    figures = {
        key: np.stack([training.figures[key] for training in each])
        for key in each[0].figures
    }
    return TrainedArm(name, rows, figures)
