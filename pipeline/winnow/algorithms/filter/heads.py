"""A head on a model's vectors: linear layers that turn a vector into one number.

Aesthetics, nudity, watermarks: LAION's predictors are such heads on CLIP's vectors
(Schuhmann et al. 2022, arXiv 2210.08402). All arithmetic is float64 in one order for
each row, so that a score depends on its vector alone and not on the batch, the threads
or the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import Floats, Vectors
from winnow.numeric.compiled import compiled

Activation = Literal["none", "relu", "gelu", "tanh", "sigmoid"]
Output = Literal["number", "sigmoid", "softmax"]

_BLOCK_ROWS = 256


@dataclass(frozen=True)
class Layer:
    """y = W x + b. name: as the file has it; weight: (out, in), bias: (out,)."""

    name: str
    weight: npt.NDArray[np.floating]
    bias: npt.NDArray[np.floating]


@dataclass(frozen=True)
class Head:
    """Layers with an activation between two of them, and what is read at the end.

    output: the number as it is, its logistic value, or its part of the softmax over all
    outputs. index: which output, from 0.
    """

    layers: Sequence[Layer]
    activation: Activation = "none"
    output: Output = "number"
    index: int = 0


def check_head(head: Head, dim: int | None = None) -> None:
    """Raise ValueError if layers do not follow one another, or there is no such output.

    dim: numbers of the vectors that the first layer is given; None: not known yet.
    """
    given, whose = dim, "the vectors have"
    for layer in head.layers:
        if layer.weight.ndim != 2 or layer.bias.shape != layer.weight.shape[:1]:
            raise ValueError(
                f"layer '{layer.name}' is not linear: its weight is of shape "
                f"{layer.weight.shape}, its bias of {layer.bias.shape}"
            )
        outputs, inputs = layer.weight.shape
        if given is not None and inputs != given:
            raise ValueError(
                f"layer '{layer.name}' takes {inputs:,} numbers, but {whose} {given:,}"
            )
        if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
            raise ValueError(f"layer '{layer.name}' holds NaN or infinity")
        given, whose = outputs, f"'{layer.name}' gives"
    if not head.layers:
        raise ValueError("there is no layer")
    if not 0 <= head.index < (given or 0):
        raise ValueError(f"there is no output {head.index}: {whose} {given}, from 0 on")


def head_scores(vectors: Vectors, head: Head) -> Floats:
    """Return what a head makes of each vector: (n,) float64.

    vectors: (n, dim) of any float type, taken as they are. NaN where a vector or what
    comes of it is not finite. Raises ValueError as `check_head` does.

    >>> linear = Layer("fc", np.array([[2.0, -1.0]]), np.array([0.5]))
    >>> head_scores(np.array([[1.0, 0.0], [0.0, 1.0]]), Head([linear])).tolist()
    [2.5, -0.5]
    """
    check_head(head, vectors.shape[1])
    scores = np.empty(len(vectors))
    layers = [
        (
            np.ascontiguousarray(layer.weight.T, np.float64),
            layer.bias.astype(np.float64),
        )
        for layer in head.layers
    ]
    for start in range(0, len(vectors), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        with np.errstate(over="ignore", invalid="ignore"):
            scores[part] = _read(_through(vectors[part], layers, head), head)
    scores[~np.isfinite(scores)] = np.nan
    return scores


def _through(
    vectors: Vectors, layers: Sequence[tuple[Floats, Floats]], head: Head
) -> Floats:
    rows = vectors.astype(np.float64)
    for number, (columns, bias) in enumerate(layers):
        if number:
            rows = _activated(rows, head.activation)
        outputs = np.empty((len(rows), len(bias)))
        _linear(rows, columns, bias, outputs)
        rows = outputs
    return rows


def _activated(values: Floats, activation: Activation) -> Floats:
    if activation == "relu":
        return np.maximum(values, 0.0)
    if activation == "tanh":
        return np.tanh(values)
    if activation == "sigmoid":
        return _logistic(values)
    if activation == "gelu":
        from scipy.special import erf

        return np.asarray(0.5 * values * (1.0 + erf(values / np.sqrt(2.0))))
    return values


def _read(outputs: Floats, head: Head) -> Floats:
    chosen: Floats = outputs[:, head.index]
    if head.output == "sigmoid":
        return _logistic(chosen)
    if head.output == "softmax":
        # One output after the other, so that the sum has one order.
        total = np.zeros(len(outputs))
        for other in range(outputs.shape[1]):
            total += np.exp(outputs[:, other] - outputs.max(axis=1))
        return np.asarray(np.exp(chosen - outputs.max(axis=1)) / total)
    return chosen


def _logistic(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


@compiled
def _linear(rows: Floats, columns: Floats, bias: Floats, outputs: Floats) -> None:
    """Add up each output input by input; lanes are outputs, never parts of a sum."""
    inputs, width = columns.shape
    for row in range(len(rows)):
        for j in range(width):
            outputs[row, j] = bias[j]
    for first in range(0, len(rows), 4):
        last = min(first + 4, len(rows))
        for i in range(inputs):
            for row in range(first, last):
                value = rows[row, i]
                for j in range(width):
                    outputs[row, j] += value * columns[i, j]
