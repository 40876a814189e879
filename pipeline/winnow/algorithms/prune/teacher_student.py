"""Why pruning can beat power laws: a perceptron that learns from a pruned pool.

Sorscher et al. 2022 (arXiv 2206.14486), section 3 and appendix A, for a probe that is
the teacher itself. Inputs x ~ N(0, I_N) with labels sign(T·x); of a pool, the fraction
f with the smallest |T·x| (hard) or the largest (easy) is kept, α = kept / N; the
student is the hyperplane of maximal margin κ through what is kept, R its overlap with
the teacher, and it errs on arccos(R)/π of fresh inputs. In the limit of large N, R and
κ solve, with z = |T·x| of what is kept, s = √(1 − R²), a = (κ − R z)/s:

    α E[(a² + 1) Φ(a) + a φ(a)] = 1
    α E[s z (a Φ(a) + φ(a)) + R Φ(a)] = R
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, nnls
from scipy.special import ndtr, ndtri

from winnow.core.errors import ConfigError

Keep = Literal["hard", "easy"]
Floats = npt.NDArray[np.float64]

#: Points at which the mean over z is taken, and where its tail is cut.
_POINTS, _TAIL = 96, 12.0


@dataclass(frozen=True)
class Student:
    """What a student comes to: its error on fresh inputs, overlap R and margin κ."""

    error: float
    overlap: float
    margin: float


def theory(alpha: float, fraction: float = 1.0, keep: Keep = "hard") -> Student:
    """Return the student of a pool of infinite size and dimension.

    alpha: kept samples for each dimension; fraction: share of the pool that is kept.

    Raises ConfigError if alpha is not positive or fraction is not in (0, 1].
    """
    z, weight = _kept_margins(fraction, keep)
    if not alpha > 0:
        raise ConfigError(f"alpha: give samples per dimension above 0, not {alpha}")

    def surplus(overlap: float) -> float:
        s = np.sqrt(1 - overlap * overlap)
        a = (_margin(alpha, overlap, z, weight) - overlap * z) / s
        cdf, pdf = ndtr(a), _density(a)
        mean = weight @ (s * z * (a * cdf + pdf) + overlap * cdf)
        return float(alpha * mean - overlap)

    overlap = float(brentq(surplus, 1e-9, 1 - 1e-12, xtol=1e-13))
    margin = _margin(alpha, overlap, z, weight)
    return Student(float(np.arccos(overlap) / np.pi), overlap, margin)


def errors(alphas: npt.ArrayLike, fraction: float = 1.0, keep: Keep = "hard") -> Floats:
    """Return the error for each alpha; see `theory`."""
    given = np.atleast_1d(np.asarray(alphas, np.float64))
    return np.array([theory(float(alpha), fraction, keep).error for alpha in given])


def errors_of_pool(pools: npt.ArrayLike, fraction: float, keep: Keep) -> Floats:
    """Return the error for each size of the pool (samples per dimension) as it was
    before pruning: a pool of p keeps fraction · p."""
    return errors(np.asarray(pools, np.float64) * fraction, fraction, keep)


def simulate(
    alpha: float,
    fraction: float = 1.0,
    keep: Keep = "hard",
    *,
    dimensions: int = 100,
    seed: int = 0,
) -> Student:
    """Return one student trained on a drawn pool: exact, by non-negative least squares.

    The student of maximal margin is w = Σ u_i y_i x_i with u ≥ 0 the solution of
    min ‖Aᵀu; 1ᵀu − 1‖ for A = y·X (Lawson & Hanson 1974, chapter 23).

    Raises ConfigError if nothing would be kept.
    """
    _check(fraction)
    kept = round(alpha * dimensions)
    if kept < 1:
        raise ConfigError("alpha × dimensions has to be at least 1")
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((round(kept / fraction), dimensions))
    teacher = np.zeros(dimensions)
    teacher[0] = 1.0  # any direction is as good as another
    margins = np.abs(pool @ teacher)
    order = np.argsort(margins if keep == "hard" else -margins, kind="stable")
    chosen = pool[order[:kept]]
    signed = chosen * np.sign(chosen @ teacher)[:, None]
    student, margin = max_margin(signed)
    overlap = float(student @ teacher)
    return Student(float(np.arccos(overlap) / np.pi), overlap, margin)


def compare(
    alphas: Sequence[float],
    pruned: Sequence[tuple[float, Keep]],
    *,
    students: int = 5,
    dimensions: int = 100,
) -> list[dict[str, float | str]]:
    """Return theory beside simulation: one row for each alpha of each (fraction, keep).

    `pool` is the pool's size before pruning, in samples per dimension. `theory` is the
    error in the limit, `simulated` the mean over `students` drawn ones (0: none are),
    `spread` the standard error of that mean.
    """
    rows: list[dict[str, float | str]] = []
    for fraction, keep in pruned:
        for alpha in alphas:
            row: dict[str, float | str] = {
                "alpha": alpha,
                "pool": alpha / fraction,
                "pruning": f"{keep} {fraction:g}" if fraction < 1 else "none",
                "theory": theory(alpha, fraction, keep).error,
            }
            rows.append(
                {**row, **_simulated(alpha, fraction, keep, students, dimensions)}
            )
    return rows


def _simulated(
    alpha: float, fraction: float, keep: Keep, students: int, dimensions: int
) -> dict[str, float]:
    """Return the mean error of drawn students and its standard error."""
    if not students:
        return {}
    if students == 1:
        raise ConfigError("students: 1 has no spread; give 2 or more, or 0 for none")
    drawn = [
        simulate(alpha, fraction, keep, dimensions=dimensions, seed=seed).error
        for seed in range(students)
    ]
    spread = float(np.std(drawn, ddof=1) / np.sqrt(students))
    return {"simulated": float(np.mean(drawn)), "spread": spread}


def max_margin(signed: Floats) -> tuple[Floats, float]:
    """Return the unit w with the largest min_i w·a_i over rows a_i, and that minimum.

    signed: (samples, dimensions), each sample times its label.

    Raises ConfigError if no hyperplane has all rows on one side.
    """
    samples, dimensions = signed.shape
    system = np.vstack([signed.T, np.ones(samples)])
    target = np.zeros(dimensions + 1)
    target[-1] = 1.0
    solution, _ = nnls(system, target, maxiter=20 * samples)
    residual = system @ solution - target
    if residual[-1] > -1e-12:
        raise ConfigError("the samples cannot be separated")
    direction = -residual[:-1] / residual[-1]
    unit = -direction if (signed @ direction).mean() < 0 else direction
    unit = unit / np.linalg.norm(unit)
    return unit, float((signed @ unit).min())


def _check(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction: give a share above 0 and up to 1, not {fraction}")


def _kept_margins(fraction: float, keep: Keep) -> tuple[Floats, Floats]:
    """Return z at the points of a quadrature and their weights, which sum to 1."""
    _check(fraction)
    if keep == "hard":
        low, high = 0.0, float(min(ndtri((1 + fraction) / 2), _TAIL))
    else:
        low, high = float(ndtri(1 - fraction / 2)), _TAIL
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    z = low + (nodes + 1) * (high - low) / 2
    density = weights * _density(z)
    return z, density / density.sum()


def _margin(alpha: float, overlap: float, z: Floats, weight: Floats) -> float:
    """Return the κ that the first equation asks for at a given overlap."""
    s = np.sqrt(1 - overlap * overlap)

    def surplus(margin: float) -> float:
        a = (margin - overlap * z) / s
        mean = weight @ ((a * a + 1) * ndtr(a) + a * _density(a))
        return float(alpha * mean - 1)

    reach = 4.0
    while surplus(-reach) > 0 or surplus(reach) < 0:
        reach *= 4
    return float(brentq(surplus, -reach, reach, xtol=1e-12))


def _density(z: Floats) -> Floats:
    """Return the density of N(0, 1); scipy.stats checks its arguments for longer."""
    return np.asarray(np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
