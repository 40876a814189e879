"""Small models trained on stored vectors: two linear heads, and a linear probe.

They stand for the model that a selection is meant for: what learns from vectors of
frozen towers takes seconds, so that many selections can be compared (Fang et al. 2023,
arXiv 2309.17425, §4, with whole models).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

#: Adam's (Kingma & Ba 2015): decays of its two means, and what keeps it finite.
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class HeadSettings:
    """How heads and probes learn.

    width: numbers that each head gives. batch: rows of a step. rate: the highest rate,
    which falls to zero by a cosine. decay: AdamW's (Loshchilov & Hutter 2019). scale:
    that similarities are multiplied with before the softmax.
    """

    width: int = 128
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.1
    scale: float = 20.0


def batches(rows: int, batch: int, steps: int, seed: int) -> Iterator[Ids]:
    """Yield `steps` draws of rows, each row once before any comes again.

    rows: how many there are; a batch has at most so many.
    """
    random = np.random.default_rng([seed, rows])
    size = min(batch, rows)
    order, start = random.permutation(rows), 0
    for _ in range(steps):
        if start + size > rows:
            order, start = random.permutation(rows), 0
        yield order[start : start + size]
        start += size


class AdamW:
    """Descent of one matrix; the rate falls by a cosine over `steps`."""

    def __init__(self, weights: Floats, settings: HeadSettings, steps: int) -> None:
        self.weights = weights
        self._settings, self._steps, self._step = settings, steps, 0
        self._mean = np.zeros_like(weights)
        self._square = np.zeros_like(weights)

    def descend(self, gradient: Floats) -> None:
        """Take one step against a gradient, which has the matrix's shape."""
        rate = (
            self._settings.rate * 0.5 * (1 + np.cos(np.pi * self._step / self._steps))
        )
        self._step += 1
        self._mean += (1 - _FIRST) * (gradient - self._mean)
        self._square += (1 - _SECOND) * (gradient * gradient - self._square)
        mean = self._mean / (1 - _FIRST**self._step)
        square = self._square / (1 - _SECOND**self._step)
        self.weights *= np.float32(1 - rate * self._settings.decay)
        self.weights -= np.float32(rate) * mean / (np.sqrt(square) + _TINY)


def train_heads(
    images: Floats, texts: Floats, settings: HeadSettings, steps: int, seed: int
) -> tuple[Floats, Floats]:
    """Return two matrices that bring pairs together: (d, width) and (e, width).

    images: (n, d), texts: (n, e), a pair in each row. The loss is CLIP's (Radford et
    al. 2021): the softmax of a batch's similarities, over captions and over images.
    Both heads start at random, so all that relates them is learned from these rows.
    """
    random = np.random.default_rng([seed, 1])
    heads = []
    for dim in (images.shape[1], texts.shape[1]):
        start = random.standard_normal((dim, settings.width)) / np.sqrt(dim)
        heads.append(AdamW(start.astype(np.float32), settings, steps))
    left, right = heads
    for rows in batches(len(images), settings.batch, steps, seed):
        grads = pair_gradients(
            images[rows], texts[rows], left.weights, right.weights, settings.scale
        )
        left.descend(grads[0])
        right.descend(grads[1])
    return left.weights, right.weights


def pair_gradients(
    images: Floats,
    texts: Floats,
    left: Floats,
    right: Floats,
    scale: float,
    weights: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return the gradients of CLIP's loss by both heads, and each pair's loss.

    images, texts: (n, d) and (n, e); weights: (n,) of each pair in the sum, 1 / n
    where there are none.
    """
    u, u_norm = unit(images @ left)
    v, v_norm = unit(texts @ right)
    logits = np.float32(scale) * (u @ v.T)
    by_row, row_loss = _softmax(logits)
    by_column, column_loss = _softmax(logits.T)
    share = np.full(len(u), 1 / len(u), np.float32) if weights is None else weights
    by_row[np.diag_indices(len(u))] -= 1
    by_column[np.diag_indices(len(u))] -= 1
    each = share[:, None] * by_row + (share[:, None] * by_column).T
    each *= np.float32(scale / 2)
    du, dv = each @ v, each.T @ u
    du -= u * np.einsum("ij,ij->i", u, du)[:, None]
    dv -= v * np.einsum("ij,ij->i", v, dv)[:, None]
    by_image: Floats = images.T @ (du / u_norm)
    by_text: Floats = texts.T @ (dv / v_norm)
    return by_image, by_text, np.asarray((row_loss + column_loss) / 2, np.float32)


def unit(rows: Floats) -> tuple[Floats, Floats]:
    """Return rows of length 1, and the (n, 1) lengths that they had."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None] + np.float32(1e-12)
    return rows / norms, norms


def _softmax(logits: Floats) -> tuple[Floats, Floats]:
    """Return each row's softmax, and the loss of its diagonal number."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1)
    return powers / sums[:, None], np.log(sums) - np.diagonal(shifted)


def train_probe(
    vectors: Floats,
    labels: Ids,
    classes: int,
    settings: HeadSettings,
    steps: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Return a linear probe's weights and offsets: (d, classes) and (classes,).

    vectors: (n, d); labels: (n,), below `classes`. Multinomial logistic regression by
    AdamW, from zeros.
    """
    dim = vectors.shape[1]
    probe = AdamW(np.zeros((dim + 1, classes), np.float32), settings, steps)
    ones = np.ones((len(vectors), 1), np.float32)
    extended = np.hstack([vectors * np.float32(settings.scale), ones])
    for rows in batches(len(vectors), settings.batch, steps, seed):
        logits = extended[rows] @ probe.weights
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        chances[np.arange(len(rows)), labels[rows]] -= 1
        gradient = extended[rows].T @ chances / np.float32(len(rows))
        probe.descend(np.asarray(gradient, np.float32))
    return probe.weights[:dim] * np.float32(settings.scale), probe.weights[dim]
