"""Vectors as oracles make them: plain NumPy in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np


def unit_rows(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return each vector of the last axis at length 1, as float64."""
    doubles = vectors.astype(np.float64)
    lengths = np.linalg.norm(doubles, axis=-1, keepdims=True)
    units: np.ndarray[Any, Any] = doubles / lengths
    return units
