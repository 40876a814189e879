"""What is trained on each selection: two heads on pairs, or a probe on labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.per_image import next_strangers, pair_figures
from winnow.algorithms.filter.proxy_heads import (
    HeadSettings,
    train_heads,
    train_probe,
    unit,
)
from winnow.core.errors import ConfigError
from winnow.core.hashing import keys
from winnow.filters.prove.stored_rows import ProofRows

Ids = npt.NDArray[np.int64]
#: Fewer steps would leave heads where they started.
LEAST_STEPS = 100

Figures = dict[str, npt.NDArray[np.float64]]


class SmallModel(Protocol):
    """A small model: trained on rows of the pool, judged on the held-out ones."""

    #: What it is, in a sentence that a page shows.
    about: str
    #: The figure that the verdict is of.
    main: str
    #: The pool's rows that it can learn from, by number.
    usable: Ids

    def train(self, rows: Ids, steps: int, seed: int) -> Figures:
        """Return held-out figures by image of a model trained on some rows."""

    def steps(self, rows: int, epochs: float) -> int:
        """Return the steps of `epochs` of so many rows, at least LEAST_STEPS."""


@dataclass(frozen=True)
class ZeroShot:
    """Classes by name: (c, e) text vectors of their names, (n,) class of each image."""

    names: npt.NDArray[np.float32]
    classes: Ids


class PairProxy:
    """Two linear heads on stored vectors of images and captions.

    held_out: judged on it. zero_shot: names of its classes, if there are any.
    """

    main = "auc_random"

    def __init__(
        self,
        pool: ProofRows,
        held_out: ProofRows,
        settings: HeadSettings | None = None,
        zero_shot: ZeroShot | None = None,
    ) -> None:
        self._images, self._texts = pool.pairs
        self._held = held_out.pairs
        self._settings, self._zero_shot = settings or HeadSettings(), zero_shot
        _, groups = np.unique(self._held[1], axis=0, return_inverse=True)
        self._groups = np.asarray(groups, np.int64).reshape(-1)
        order = np.argsort(keys(held_out.uids, "random caption"), kind="stable")
        self._strangers = next_strangers(self._groups, order)
        self.usable = np.arange(len(pool))
        self.about = (
            f"two linear heads of {self._settings.width} numbers, from random starts, "
            "on the run's frozen vectors of images and captions, by CLIP's loss"
        )

    def train(self, rows: Ids, steps: int, seed: int) -> Figures:
        """Return `auc_random`, recalls and, with classes, `accuracy`, by image."""
        left, right = train_heads(
            self._images[rows], self._texts[rows], self._settings, steps, seed
        )
        images, _ = unit(self._held[0] @ left)
        texts, _ = unit(self._held[1] @ right)
        figures = pair_figures(images, texts, self._groups, self._strangers)
        if self._zero_shot is not None:
            names, _ = unit(self._zero_shot.names @ right)
            said = (images @ names.T).argmax(axis=1)
            figures["accuracy"] = (said == self._zero_shot.classes).astype(np.float64)
        return figures

    def steps(self, rows: int, epochs: float) -> int:
        """Return the steps of `epochs` of so many rows, at least LEAST_STEPS."""
        return steps_of(rows, epochs, self._settings)


class ProbeProxy:
    """A linear probe of labels on stored vectors.

    Raises ConfigError unless two labels of the pool stand among the held-out rows.
    """

    main = "accuracy"

    def __init__(
        self,
        pool: ProofRows,
        held_out: ProofRows,
        settings: HeadSettings | None = None,
    ) -> None:
        self._settings = settings or HeadSettings()
        self._names = sorted({label for label in pool.labels if label is not None})
        number = {name: i for i, name in enumerate(self._names)}
        self._labels = _numbers(pool.labels, number)
        self._held_labels = _numbers(held_out.labels, number)
        self._held_labels[[label is None for label in held_out.labels]] = -2
        self._judged = np.flatnonzero(self._held_labels > -2)
        if len(set(self._held_labels.tolist()) - {-1, -2}) < 2:
            raise ConfigError(
                "--label: fewer than two of the pool's labels stand among the held-out "
                "rows, so there is nothing to tell apart"
            )
        self._vectors, self._held = pool.vectors, held_out.vectors[self._judged]
        self.usable = np.flatnonzero(self._labels >= 0)
        self.about = (
            f"a linear probe of {len(self._names)} labels on the run's frozen vectors"
        )

    def train(self, rows: Ids, steps: int, seed: int) -> Figures:
        """Return `accuracy`, and `balanced_accuracy`, the mean over classes."""
        weights, offsets = train_probe(
            self._vectors[rows],
            self._labels[rows],
            len(self._names),
            self._settings,
            steps,
            seed,
        )
        truth = self._held_labels[self._judged]
        said = (self._held @ weights + offsets).argmax(axis=1)
        right = (said == truth).astype(np.float64)
        counts = Counter(truth.tolist())
        each = np.array(
            [len(truth) / (len(counts) * counts[t]) for t in truth.tolist()]
        )
        return {"accuracy": right, "balanced_accuracy": right * each}

    def steps(self, rows: int, epochs: float) -> int:
        """Return the steps of `epochs` of so many rows, at least LEAST_STEPS."""
        return steps_of(rows, epochs, self._settings)


def steps_of(rows: int, epochs: float, settings: HeadSettings) -> int:
    """Return the steps of so many epochs, at least LEAST_STEPS."""
    return max(LEAST_STEPS, round(epochs * rows / min(rows, settings.batch)))


def _numbers(labels: list[str | None], number: dict[str, int]) -> Ids:
    """Return labels as numbers, −1 for one that there is no number for."""
    return np.array([number.get(label or "", -1) for label in labels], np.int64)
