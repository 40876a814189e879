"""The largest of many numbers, gathered from workers by an accumulator."""

from __future__ import annotations

from pyspark import AccumulatorParam


class PeakParam(AccumulatorParam[float]):
    """Adds by taking the larger one."""

    def zero(self, value: float) -> float:
        """Return what is no number's larger."""
        return 0.0

    def addInPlace(self, value1: float, value2: float) -> float:
        """Return the larger one."""
        return max(value1, value2)
