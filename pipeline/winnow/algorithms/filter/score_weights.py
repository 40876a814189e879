"""Weights of scores, learned by what they do to a held-out loss (M-FLYT in small).

Shechter & Carmon 2025, "Filter like you test": examples are weighted by the softmax of
a linear mixture of scores, a model takes a step on the weighted loss, and the mixture
follows the gradient of a downstream loss through that step. Here the model is two
linear heads on stored vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from winnow.algorithms.filter.proxy_heads import (
    AdamW,
    HeadSettings,
    batches,
    pair_gradients,
)

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Along the gradient, of which length the heads move to see how a pair's loss changes.
_STEP = 1e-2


@dataclass(frozen=True)
class WeightSettings:
    """How weights are learned: steps, and the highest rate of Adam's descent."""

    steps: int = 300
    rate: float = 0.05


def normal_scores(scores: Doubles) -> Doubles:
    """Return scores by rank as normal quantiles, ties averaged: (n, k) of (n, k).

    So that no score's scale decides. NaN becomes the least.
    """
    columns = []
    for column in scores.T:
        known = np.where(np.isnan(column), -np.inf, column)
        columns.append(norm.ppf((rankdata(known) - 0.5) / len(known)))
    return np.column_stack(columns)


def learn_weights(
    scores: Doubles,
    pool: tuple[Floats, Floats],
    held_out: tuple[Floats, Floats],
    settings: WeightSettings | None = None,
    seed: int = 0,
) -> Doubles:
    """Return the weight of each score in the mixture that trains best: (k,).

    scores: (n, k) of the pool's pairs, higher is better, on like scales (see
    `normal_scores`). pool, held_out: unit vectors of images and captions; the held-out
    pairs are trusted. The gradient of the held-out loss by a pair's weight is minus the
    rate times the product of both gradients, which is how the pair's loss changes as
    the heads move along the held-out gradient: two losses, no gradient of each pair.
    """
    chosen, heads = settings or WeightSettings(), HeadSettings()
    pair = _Heads.started(pool, heads, chosen.steps, seed)
    rate = HeadSettings(rate=chosen.rate, decay=0.0)
    mixture = AdamW(np.zeros((scores.shape[1], 1), np.float32), rate, chosen.steps)
    drawn = batches(len(scores), heads.batch, chosen.steps, seed)
    judged = batches(len(held_out[0]), heads.batch, chosen.steps, seed + 1)
    for rows, others in zip(drawn, judged, strict=True):
        weights = softmax(scores[rows] @ mixture.weights[:, 0])
        gains = pair.gains(
            (pool[0][rows], pool[1][rows]), (held_out[0][others], held_out[1][others])
        )
        mixture.descend(_through_softmax(scores[rows], weights, -gains))
        pair.descend((pool[0][rows], pool[1][rows]), weights)
    return np.asarray(mixture.weights[:, 0], np.float64)


@dataclass(frozen=True)
class _Heads:
    """Two heads on their way down."""

    left: AdamW
    right: AdamW
    scale: float

    @classmethod
    def started(
        cls, pool: tuple[Floats, Floats], settings: HeadSettings, steps: int, seed: int
    ) -> _Heads:
        random = np.random.default_rng([seed, 2])
        heads = []
        for vectors in pool:
            dim = vectors.shape[1]
            start = random.standard_normal((dim, settings.width)) / np.sqrt(dim)
            heads.append(AdamW(start.astype(np.float32), settings, steps))
        return cls(heads[0], heads[1], settings.scale)

    def gains(
        self, pairs: tuple[Floats, Floats], target: tuple[Floats, Floats]
    ) -> Doubles:
        """Return what a larger weight of each pair does for the loss of a target."""
        heads = self.left.weights, self.right.weights
        downhill = pair_gradients(*target, *heads, self.scale)
        return _gains(pairs, heads, downhill[:2], self.scale)

    def descend(self, pairs: tuple[Floats, Floats], weights: Doubles) -> None:
        """Take a step on the weighted loss of some pairs."""
        heads = self.left.weights, self.right.weights
        share = weights.astype(np.float32)
        grads = pair_gradients(*pairs, *heads, self.scale, share)
        self.left.descend(grads[0])
        self.right.descend(grads[1])


def softmax(values: Doubles) -> Doubles:
    """Return the softmax of some numbers."""
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum(), np.float64)


def _gains(
    pair: tuple[Floats, Floats],
    heads: tuple[Floats, Floats],
    gradient: tuple[Floats, Floats],
    scale: float,
) -> Doubles:
    """Return each pair's gradient times another of length 1: (n,)."""
    length = np.sqrt(sum(float((part**2).sum()) for part in gradient)) + 1e-12
    moved = []
    for sign in (1, -1):
        one, other = (
            head + np.float32(sign * _STEP / length) * part
            for head, part in zip(heads, gradient, strict=True)
        )
        moved.append(pair_gradients(*pair, one, other, scale)[2])
    return np.asarray((moved[0] - moved[1]) / (2 * _STEP), np.float64)


def _through_softmax(scores: Doubles, weights: Doubles, by_weight: Doubles) -> Floats:
    """Return the gradient by the mixture of a loss whose gradient by weights is given.

    d w_i / d θ = w_i (x_i − Σ w x), so Σ g_i w_i (x_i − x̄): (k, 1).
    """
    centred = scores - weights @ scores
    return np.asarray((weights * by_weight) @ centred, np.float32)[:, None]
