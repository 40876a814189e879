"""What a processor beside this one is asked for: pairs that its products nominate.

Its float32 products decide nothing, as this processor's do not (`algorithms.cosine`).
The error of a product of d numbers is below d · 2⁻²⁴ times both lengths, in whatever
order they are added (Higham 2002, "Accuracy and Stability of Numerical Algorithms",
section 3.1), and vectors that were divided by their lengths bring a few more of 2⁻²⁴.
So the largest of the true products is among those that are within twice that of the
largest computed one, and what is decided among them in float64 is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

#: Of the errors above that do not grow with the vectors.
_ROUNDED = 4


def uncertainty(dim: int) -> float:
    """Return how far apart products of vectors of length 1 may be and yet be equal.

    >>> uncertainty(512) < 1e-4
    True
    """
    return 2 * (dim + _ROUNDED) * 2.0**-24


class Nominated(NamedTuple):
    """What could decide, of the h rows from `start` on.

    largest: (h,) each row's largest product, −inf where it sees no candidate. rows,
    candidates: (p,) pairs, ascending by row and then by candidate.
    """

    start: int
    largest: Singles
    rows: Ids
    candidates: Ids


class Device(Protocol):
    """Makes products of float32 matrices; methods may be called from any thread."""

    def placed(self, rows: Singles) -> Any:
        """Return (m, dim) rows as the device has them; slices of it are rows, too."""

    def nominated(
        self, rows: Any, candidates: Any, first: Ids | None, least: Singles
    ) -> Iterator[Nominated]:
        """Yield the pairs that could be a row's largest product, for some rows a time.

        rows: (m, dim), candidates: (c, dim), c above 0, both finite, as arrays or
        `placed`. first: (c,) a candidate is seen by the rows from this one on; None: by
        all. least: (m,) products that are smaller do not matter.
        """
