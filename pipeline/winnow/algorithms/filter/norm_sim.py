"""NormSim: how near an image lies to a set of target images.

Wang et al. 2024 (arXiv 2405.19547), §3.2: the norm of the vector of an image's
similarities to all targets, with p = ∞ or 2. A norm takes absolute values, and the
released code does; the similarity to the nearest target is the same but for its sign.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import Best, Floats, Ids, Vectors, dot, prepare
from winnow.numeric.compiled import compiled

_BLOCK_ROWS = 2048


def nearest_target(images: Vectors, targets: Vectors) -> tuple[Floats, Ids]:
    """Return each image's largest cosine to a target, and that target's row.

    NormSim with p = ∞ but signed: max_t ⟨x, t⟩. images:
    (n, dim), targets: (m, dim), norms above 0. Returns (n,) float64 and (n,) int64; of
    equal targets the first. Exact in float64, whatever the batch. Raises ValueError
    for a zero or infinite row, for no target at all, or for different dimensions.
    """
    _check(images, targets)
    cosine = np.empty(len(images))
    row = np.empty(len(images), np.int64)
    blocks = [
        (start, prepare(targets[start : start + _BLOCK_ROWS]))
        for start in range(0, len(targets), _BLOCK_ROWS)
    ]
    scratch = np.empty(_BLOCK_ROWS * _BLOCK_ROWS, np.float32)
    for start in range(0, len(images), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        best = Best(prepare(images[part]))
        for first, block in blocks:
            ids = np.arange(first, first + len(block))
            best.see(block, ids, np.zeros(len(block), np.int64), scratch)
        cosine[part], row[part] = best.cosine, best.ids
    return cosine, row


def norm_sim_inf(images: Vectors, targets: Vectors) -> Floats:
    """Return ‖T x‖_∞ = max_t |⟨x, t⟩| of each image's unit vector x: (n,) float64.

    As the released code of the paper; what is most unlike a target counts as well.
    Arguments and errors as of `nearest_target`.
    """
    nearest, _ = nearest_target(images, targets)
    opposite, _ = nearest_target(-images, targets)
    return np.maximum(nearest, opposite)


def target_gram(targets: Vectors) -> Floats:
    """Return TᵀT, (dim, dim), of the targets' unit vectors T, (m, dim).

    It is all that p = 2 needs of them. Raises as `nearest_target` does.
    """
    if targets.ndim != 2 or not len(targets):
        raise ValueError(f"targets of shape {targets.shape}: at least one is needed")
    gram = np.zeros((targets.shape[1], targets.shape[1]))
    for start in range(0, len(targets), _BLOCK_ROWS):
        rows = prepare(targets[start : start + _BLOCK_ROWS])
        unit = rows.exact.astype(np.float64) / np.sqrt(rows.squares)[:, None]
        gram += unit.T @ unit
    return gram


def norm_sim_2(images: Vectors, gram: Floats) -> Floats:
    """Return ‖T x‖₂ = √(xᵀ TᵀT x) of each image's unit vector x: (n,) float64.

    images: (n, dim), norms above 0; gram: `target_gram` of the targets. Each row is
    summed by itself in one order, so it does not depend on the batch. Raises
    ValueError for a zero or infinite row or another dimension.
    """
    _check(images, gram)
    norms = np.empty(len(images))
    for start in range(0, len(images), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        rows = prepare(images[part])
        _quadratic(rows.exact.astype(np.float64), rows.squares, gram, norms[part])
    return norms


@compiled
def _quadratic(rows: Floats, squares: Floats, gram: Floats, out: Floats) -> None:
    dim = rows.shape[1]
    terms = np.zeros(dim + 1)
    product = np.zeros(dim)
    for r in range(len(rows)):
        for c in range(dim):
            product[c] = dot(gram[c], rows[r], terms)
        value = dot(product, rows[r], terms) / squares[r]
        out[r] = np.sqrt(max(value, 0.0))


def variance_alignment(images: Vectors, gram: Floats, count: int) -> Floats:
    """Return the Variance Alignment Score ⟨Σ, x xᵀ⟩ = xᵀ Σ x: (n,) float64.

    Wang et al. 2024 (arXiv 2402.02055): Σ = TᵀT / count is the covariance of the
    target's unit vectors, gram their `target_gram`. Arguments and errors as of
    `norm_sim_2`, whose square over `count` it is.
    """
    return np.asarray(norm_sim_2(images, gram) ** 2 / count)


def _check(images: Vectors, targets: npt.NDArray[np.floating]) -> None:
    if images.ndim != 2 or targets.ndim != 2 or images.shape[1] != targets.shape[1]:
        raise ValueError(
            f"images {images.shape} and targets {targets.shape}: vectors of the same "
            "model are needed"
        )
    if not len(targets):
        raise ValueError("there is no target; NormSim needs at least one")
