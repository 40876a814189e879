"""Cosines as whole numbers: sums of them are the same in any order.

Unit vectors are rounded to multiples of 2⁻¹⁴. Their products are integers below 2⁵³, so
that float64 matrix products give them exactly, whatever the block size, the threads and
the BLAS; they are within about 10⁻⁴ of the vectors' own cosines.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BITS = 14
#: What a product has to be divided by to be a cosine.
ONE = 4.0**_BITS
#: Products that are held at a time: 128 MiB.
_HELD = 1 << 24


class WholeNumbers:
    """n unit vectors as whole numbers, and their products by rows; all held if few.

    vectors: (n, dim) of any norm above 0.
    """

    def __init__(self, vectors: npt.NDArray[np.floating]) -> None:
        exact = vectors.astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", exact, exact))[:, None]
        self.rows = np.rint(exact / np.where(norms > 0, norms, 1.0) * 2**_BITS)
        few = len(self.rows) ** 2 <= _HELD
        self._all = self.rows @ self.rows.T if few else None

    def __len__(self) -> int:
        return len(self.rows)

    def products(self, chosen: Ints | slice) -> Floats:
        """Return products of some rows with all, whole numbers: (some, n)."""
        if self._all is not None:
            return np.asarray(self._all[chosen])
        return np.asarray(self.rows[chosen] @ self.rows.T)

    @property
    def block(self) -> int:
        """Rows whose products with all are held at a time."""
        return max(1, _HELD // max(len(self), 1))


def mean_of_nearest(vectors: npt.NDArray[np.floating], k: int) -> Floats:
    """Return each row's mean cosine to its k nearest other rows: (n,) float64.

    vectors: (n, dim) of any norm above 0. Of fewer others all count; without any: NaN.

    >>> mean_of_nearest(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 2).tolist()
    [0.5, 0.5, 0.0]
    """
    numbers = WholeNumbers(vectors)
    k = min(k, len(numbers) - 1)
    means = np.full(len(numbers), np.nan)
    if k < 1:
        return means
    for start in range(0, len(numbers), numbers.block):
        rows = np.arange(start, min(start + numbers.block, len(numbers)))
        products = numbers.products(rows)
        products[np.arange(len(rows)), rows] = -np.inf
        nearest = np.partition(products, -k, axis=1)[:, -k:]
        means[rows] = nearest.sum(axis=1) / (k * ONE)
    return means
