"""Exact cosines at the speed of float32 matrix products.

A float32 product only nominates pairs. Whatever could decide something, being within
`SLACK` of the best or of a threshold, is computed again in float64 from the vectors as
they were given, in one fixed order of addition. So no result depends on the block size,
the number of threads or the BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled
from winnow.numeric.device import Device

Vectors = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

#: Above the difference between a cosine and its float32 product. The error of a dot
#: product of unit vectors stays below dim · 2⁻²⁴ and is typically √dim · 2⁻²⁴.
SLACK = 1e-5

_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class VectorRows:
    """Some rows, ready for products: m vectors of `dim` numbers.

    exact: (m, dim) float32 or float64, the given numbers; unit: (m, dim) float32, of
    unit length; squares: (m,) squared norms of `exact`.
    """

    exact: Vectors
    unit: Singles
    squares: Floats

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, part: slice) -> VectorRows:
        return VectorRows(self.exact[part], self.unit[part], self.squares[part])


def prepare(vectors: Vectors) -> VectorRows:
    """Return `vectors`, (m, dim) of any float type and norms above 0, ready for use.

    Raises ValueError that names the first row which is zero or not finite.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors of shape {vectors.shape}: a matrix is needed")
    rows = _converted(vectors)
    usable = np.isfinite(rows.squares) & (rows.squares > 0)
    if not usable.all():
        raise ValueError(
            f"vector {int(np.argmin(usable))} is zero or not finite "
            f"({int((~usable).sum())} of {len(usable)}): it has no cosine to anything; "
            "leave such rows out"
        )
    return rows


def cosines(left: Vectors, right: Vectors) -> Floats:
    """Return the exact cosine of each row of `left` to the same row of `right`: (n,).

    left, right: (n, dim) of any float type. NaN where either is zero or not finite.
    """
    values = np.empty(len(left))
    for start in range(0, len(left), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        values[part] = pairwise(_converted(left[part]), _converted(right[part]))
    return values


def pairwise(left: VectorRows, right: VectorRows) -> Floats:
    """Return `cosines` of rows that are prepared."""
    values = np.empty(len(left))
    _pairwise(left.exact, left.squares, right.exact, right.squares, values)
    return values


class Best:
    """The most similar of the candidates that m rows have seen so far.

    cosine: (m,) float64, −inf before the first; ids: (m,) int64, −1 before it. Equal
    cosines go to the candidate seen first. Candidates whose cosine is `floor` or less
    may be passed over. device: makes the products, if there is one.
    """

    def __init__(
        self, rows: VectorRows, floor: float = -np.inf, device: Device | None = None
    ) -> None:
        self.rows = rows
        self._device = device
        self._placed: Any = None if device is None else device.placed(rows.unit)
        self.cosine: Floats = np.full(len(rows), -np.inf)
        self.ids: Ids = np.full(len(rows), -1, np.int64)
        self._approximate = np.full(len(rows), floor, np.float32)

    def see(
        self, candidates: VectorRows, ids: Ids, first: Ids, scratch: Singles
    ) -> None:
        """Show c candidates, whose ids are `ids`, to the rows from `first[c]` on.

        `scratch` is overwritten and holds at least m·c numbers, or is not looked at if
        there is a device.
        """
        if self._device is not None:
            self.see_placed(candidates, ids, first, candidates.unit)
            return
        seeing = slice(int(first.min(initial=len(self.rows))), None)
        rows = self.rows[seeing]
        _improve(
            (
                products_into(scratch, candidates.unit, rows.unit),
                first - seeing.start,
                ids,
            ),
            (rows.exact, rows.squares),
            (candidates.exact, candidates.squares),
            (self._approximate[seeing], self.cosine[seeing], self.ids[seeing]),
        )

    def see_placed(
        self, candidates: VectorRows, ids: Ids, first: Ids | None, units: Any
    ) -> None:
        """Do as `see` on the device; units: `candidates.unit`, maybe placed there.

        first: None where all rows see all candidates.
        """
        assert self._device is not None
        start = 0 if first is None else int(first.min(initial=len(self.rows)))
        if start == len(self.rows) or not len(candidates):
            return
        seeing = slice(start, None)
        rows, known = self.rows[seeing], self._approximate[seeing]
        shifted = None if first is None else first - start
        cosine, best = self.cosine[seeing], self.ids[seeing]
        told = self._device.nominated(self._placed[seeing], units, shifted, known)
        for some in told:
            _decide(
                (some.rows, some.candidates, ids),
                (rows.exact, rows.squares),
                (candidates.exact, candidates.squares),
                (cosine, best),
            )
            part = slice(some.start, some.start + len(some.largest))
            np.maximum(known[part], some.largest, out=known[part])
            # Ties go to the candidate seen first, so these look at no other.
            known[part][cosine[part] >= 1.0] = np.inf

    def taken(self, rows: Ids) -> tuple[Floats, Ids, Singles]:
        """Return what `rows` have seen so far, for `put_back`."""
        return self.cosine[rows], self.ids[rows], self._approximate[rows]

    def put_back(self, rows: Ids, before: tuple[Floats, Ids, Singles]) -> None:
        """Let `rows` forget what they have seen since `taken`."""
        self.cosine[rows], self.ids[rows], self._approximate[rows] = before

    def improve(self, row: int, other: Best) -> None:
        """Take over for a row what `other`, of that row alone, has seen."""
        if other.cosine[0] > self.cosine[row]:
            self.cosine[row], self.ids[row] = other.cosine[0], other.ids[0]
            self._approximate[row] = max(self._approximate[row], other._approximate[0])


def products_into(scratch: Singles, left: Singles, right: Singles) -> Singles:
    """Return left·rightᵀ in the first numbers of `scratch`."""
    m, c = len(left), len(right)
    out = scratch[: m * c].reshape(m, c)
    return np.matmul(left, right.T, out=out)


def _converted(vectors: Vectors) -> VectorRows:
    exact = _widened(vectors)
    unit = np.empty(exact.shape, np.float32)
    squares = np.empty(len(exact))
    _normalise(exact, unit, squares)
    return VectorRows(exact, unit, squares)


def _widened(vectors: Vectors) -> Vectors:
    """Return the same numbers as float32 or float64, the latter scaled per row."""
    if vectors.dtype == np.float16:
        exact = np.empty(vectors.shape, np.float32)
        bits = np.ascontiguousarray(vectors).view(np.uint16)
        _from_halves(bits, exact, exact.view(np.uint32))
        return exact
    if vectors.dtype == np.float32:
        return np.ascontiguousarray(vectors)
    # A power of two changes no cosine and keeps the squares of 1e-200 from vanishing.
    doubles = np.ascontiguousarray(vectors, np.float64)
    _, exponents = np.frexp(np.abs(doubles).max(axis=1, initial=0, keepdims=True))
    return np.asarray(np.ldexp(doubles, -exponents))


@compiled
def _from_halves(
    bits: npt.NDArray[np.uint16], out: Singles, out_bits: npt.NDArray[np.uint32]
) -> None:
    """Convert float16 (IEEE 754 binary16) to float32; NumPy's own is 3× slower.

    Moving the 15 low bits by 13 gives the number times 2⁻¹¹², subnormals included.
    """
    rows, dim = bits.shape
    for r in range(rows):
        for c in range(dim):
            half = np.uint32(bits[r, c])
            low = (half & np.uint32(0x7FFF)) << np.uint32(13)
            # Infinity and NaN have all exponent bits set in either format.
            if low >= np.uint32(0x7C00 << 13):
                low |= np.uint32(0x7F800000)
            out_bits[r, c] = low | ((half & np.uint32(0x8000)) << np.uint32(16))
        for c in range(dim):
            out[r, c] *= np.float32(2.0**112)


@compiled
def dot(left: Vectors, right: Vectors, terms: Floats) -> float:
    """Sum by halves: vectorised, and the same number on every CPU.

    `terms` is overwritten and holds at least one number, and as many as `left`.
    """
    n = len(left)
    for c in range(n):
        terms[c] = np.float64(left[c]) * np.float64(right[c])
    while n > 1:
        half = n // 2
        if n % 2:
            terms[0] += terms[n - 1]
        for c in range(half):
            terms[c] += terms[half + c]
        n = half
    total: float = terms[0]
    return total


@compiled
def _normalise(exact: Vectors, unit: Singles, squares: Floats) -> None:
    rows, dim = exact.shape
    terms = np.zeros(dim + 1)
    for r in range(rows):
        squares[r] = dot(exact[r], exact[r], terms)
        scale = 1 / np.sqrt(squares[r]) if squares[r] > 0 else 0.0
        for c in range(dim):
            unit[r, c] = exact[r, c] * scale


@compiled
def exact_cosine(
    left: Vectors,
    left_square: float,
    right: Vectors,
    right_square: float,
    terms: Floats,
) -> float:
    """Return a·b/√(|a|²·|b|²), at most 1: exactly 1 for equal vectors, or NaN.

    `terms`, as many float64 as the vectors have numbers, is overwritten.
    """
    square = left_square * right_square
    if not 0 < square < np.inf:
        return np.nan
    cosine: float = dot(left, right, terms) / np.sqrt(square)
    return min(1.0, max(-1.0, cosine))


@compiled
def _pairwise(
    left: Vectors,
    left_squares: Floats,
    right: Vectors,
    right_squares: Floats,
    cosines: Floats,
) -> None:
    terms = np.zeros(left.shape[1] + 1)
    for r in range(len(left)):
        cosines[r] = exact_cosine(
            left[r], left_squares[r], right[r], right_squares[r], terms
        )


@compiled
def _improve(
    tile: tuple[Singles, Ids, Ids],
    rows: tuple[Vectors, Floats],
    candidates: tuple[Vectors, Floats],
    best: tuple[Singles, Floats, Ids],
) -> None:
    """Compare exactly what the products nominate: for most rows one candidate."""
    products, first, candidate_ids = tile
    exact, squares = rows
    candidate_exact, candidate_squares = candidates
    approximate, cosine, ids = best
    terms = np.zeros(exact.shape[1] + 1)
    second = np.full(len(approximate), -np.inf, np.float32)
    nominee = np.full(len(approximate), -1, np.int32)
    _find_two_largest(products, first, approximate, second, nominee)
    for r in range(len(approximate)):
        bar = approximate[r] - np.float32(SLACK)
        start, stop = nominee[r], nominee[r] + 1
        if second[r] >= bar:
            start, stop = 0, len(products)
        for c in range(max(start, 0), stop):
            # Nothing exceeds a cosine of 1, and ties go to the candidate seen first.
            if cosine[r] >= 1.0:
                break
            if first[c] > r or products[c, r] < bar:
                continue
            value = exact_cosine(
                exact[r], squares[r], candidate_exact[c], candidate_squares[c], terms
            )
            if value > cosine[r]:
                cosine[r] = value
                ids[r] = candidate_ids[c]


@compiled
def _decide(
    nominated: tuple[Ids, Ids, Ids],
    rows: tuple[Vectors, Floats],
    candidates: tuple[Vectors, Floats],
    best: tuple[Floats, Ids],
) -> None:
    """Compare exactly what a device nominates: pairs of rows, and candidates' ids."""
    row, candidate, candidate_ids = nominated
    exact, squares = rows
    candidate_exact, candidate_squares = candidates
    cosine, ids = best
    terms = np.zeros(exact.shape[1] + 1)
    for pair in range(len(row)):
        r, c = row[pair], candidate[pair]
        if cosine[r] >= 1.0:
            continue
        value = exact_cosine(
            exact[r], squares[r], candidate_exact[c], candidate_squares[c], terms
        )
        if value > cosine[r]:
            cosine[r] = value
            ids[r] = candidate_ids[c]


@compiled
def _find_two_largest(
    products: Singles,
    first: Ids,
    largest: Singles,
    second: Singles,
    nominee: npt.NDArray[np.int32],
) -> None:
    """Raise each column's two largest products; columns side by side vectorise."""
    for c in range(len(products)):
        seen, top = products[c, first[c] :], largest[first[c] :]
        runner_up, which = second[first[c] :], nominee[first[c] :]
        candidate = np.int32(c)
        for r in range(len(seen)):
            value, old = seen[r], top[r]
            lesser = old if value > old else value
            runner_up[r] = lesser if lesser > runner_up[r] else runner_up[r]
            which[r] = candidate if value > old else which[r]
            top[r] = value if value > old else old
