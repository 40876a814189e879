"""How well an image and its caption agree, from their vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import Floats, Vectors, cosines, prepare

_BLOCK_BYTES = 32 << 20


def cosine(image: Vectors, text: Vectors) -> Floats:
    """Return the cosine of each image to its own caption: (n,) float64.

    The score of a data filtering network (Fang et al. 2023, arXiv 2309.17425, §3).
    image, text: (n, dim) of any float type and norm. NaN where either is zero or not
    finite. Each row is summed by itself in one order, so the score does not depend on
    the batch. Raises ValueError if the shapes differ.
    """
    _check_pairs(image, text)
    return cosines(image, text)


def neg_clip_loss(image: Vectors, text: Vectors, temperature: float) -> Floats:
    """Return s_i = c_ii − (T/2)·[log Σ_j e^(c_ij/T) + log Σ_j e^(c_ji/T)] for a batch.

    The negative CLIP loss of each pair against all pairs of its batch, itself included
    (Wang et al. 2024, arXiv 2405.19547, §3): a caption that fits every image scores
    low. image, text: (n, dim), norms above 0; temperature: T, such as 0.01. Returns
    (n,) float64, within 1e-6 of the exact value. The n × n similarities exist only in
    blocks of 32 MB. Raises ValueError for a zero or infinite row or T ≤ 0.
    """
    _check_pairs(image, text)
    images, texts = prepare(image), prepare(text)
    n = len(images)
    sums = _LogSums(n, temperature)
    block = max(1, _BLOCK_BYTES // (4 * max(n, 1)))
    for start in range(0, n, block):
        sums.add(start, images.unit[start : start + block] @ texts.unit.T)
    return sums.scores(cosines(image, text))


def neg_clip_loss_from_similarities(
    similarities: npt.NDArray[np.floating], temperature: float
) -> Floats:
    """Return `neg_clip_loss` of a batch whose (n, n) cosines are at hand."""
    matrix = np.asarray(similarities)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"similarities of shape {matrix.shape}: they must be square")
    sums = _LogSums(len(matrix), temperature)
    sums.add(0, matrix)
    return sums.scores(np.asarray(np.diagonal(matrix), np.float64))


class _LogSums:
    """log Σ e^(c/T) of every row and column, from blocks of whole rows.

    Each sum is taken relative to its largest term: e^(1/0.01) overflows float32.
    """

    def __init__(self, n: int, temperature: float) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0")
        self._temperature = temperature
        self._rows = np.zeros(n)
        self._largest = np.full(n, -np.inf)
        self._sums = np.zeros(n)

    def add(self, start: int, similarities: npt.NDArray[np.floating]) -> None:
        logits = similarities / similarities.dtype.type(self._temperature)
        largest = logits.max(axis=1, keepdims=True)
        terms = np.exp(logits - largest).sum(axis=1, dtype=np.float64)
        self._rows[start : start + len(logits)] = largest[:, 0] + np.log(terms)
        largest = np.maximum(self._largest, logits.max(axis=0))
        shift = largest.astype(logits.dtype)
        self._sums *= np.exp(self._largest - largest)
        self._sums += np.exp(logits - shift).sum(axis=0, dtype=np.float64)
        self._largest = largest

    def scores(self, pairs: Floats) -> Floats:
        columns = self._largest + np.log(self._sums)
        return np.asarray(pairs - self._temperature / 2 * (self._rows + columns))


def _check_pairs(image: Vectors, text: Vectors) -> None:
    if image.shape != text.shape or image.ndim != 2:
        raise ValueError(
            f"images {image.shape} and texts {text.shape}: one text vector of the same "
            "dimension is needed per image vector"
        )
