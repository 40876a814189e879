"""Scores of several kinds on one scale, whatever the order of the rows.

Means and deviations over a pool would depend on the order of additions. Here values
are first mapped to [0, 1] by the pool's least and largest one and rounded to multiples
of 2⁻⁴⁰, whose sums are exact integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_UNIT = 2**40
#: The reciprocal of a smaller number may be infinite.
_LEAST_WIDTH = 1e-300
#: Rows whose sums of integers up to 2⁴⁰ stay below 2⁶³.
MOST_ROWS = 2**22


@dataclass(frozen=True, slots=True)
class Scaling:
    """x → (x − shift) · factor."""

    shift: float
    factor: float

    def __call__(self, values: Floats) -> Floats:
        """Return scaled values; NaN stays NaN."""
        return np.asarray((values - self.shift) * self.factor)


def range_scaling(least: float, most: float) -> Scaling:
    """Return the map of [least, most] to [0, 1]; of equal bounds to 0."""
    width = most - least
    return Scaling(least, 1.0 / width if width > _LEAST_WIDTH else 0.0)


def integer_moments(values: Floats, scaling: Scaling) -> tuple[int, int]:
    """Return Σu and Σu² in multiples of 2⁻⁴⁰, of u = scaled values in [0, 1].

    values: (n,), no NaN, n ≤ `MOST_ROWS`. Sums of several parts add up exactly.
    """
    unit = np.clip(scaling(values), 0.0, 1.0)
    first = np.rint(unit * _UNIT).astype(np.int64)
    second = np.rint(unit * unit * _UNIT).astype(np.int64)
    return int(first.sum()), int(second.sum())


def standard_scaling(count: int, first: int, second: int, to_unit: Scaling) -> Scaling:
    """Return x → (x − mean) / standard deviation from added-up integer moments.

    count: rows; first, second: their Σu and Σu². If all values are equal, the map to 0.
    The deviation is that of the population.
    """
    if not count or not to_unit.factor:
        return Scaling(to_unit.shift, 0.0)
    # Whole numbers up to here: n·Σu² − (Σu)² loses nothing.
    spread = count * second * _UNIT - first * first
    deviation = math.sqrt(max(spread, 0)) / (count * _UNIT)
    mean = to_unit.shift + first / (count * _UNIT) / to_unit.factor
    factor = to_unit.factor / deviation if deviation > 0 else 0.0
    return Scaling(mean, factor)


def standard_scaling_of(values: Floats) -> Scaling:
    """Return x → (x − mean) / standard deviation of (n,) values without NaN, n > 0."""
    to_unit = range_scaling(float(values.min()), float(values.max()))
    first = second = 0
    for start in range(0, len(values), MOST_ROWS):
        part = integer_moments(values[start : start + MOST_ROWS], to_unit)
        first, second = first + part[0], second + part[1]
    return standard_scaling(len(values), first, second, to_unit)


def mix(
    terms: Sequence[Floats], weights: Sequence[float], scalings: Sequence[Scaling]
) -> Floats:
    """Return Σ weight · scaled term, added in the order given: (n,) float64."""
    total = np.zeros(len(terms[0]))
    for values, weight, scaling in zip(terms, weights, scalings, strict=True):
        total += weight * scaling(values)
    return total
