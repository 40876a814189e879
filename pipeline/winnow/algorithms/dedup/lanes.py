"""Sixteen byte strings side by side in vector registers, for the token hashes.

A hash of one short string is a chain of dependent instructions; sixteen strings give
the processor sixteen independent chains in the lanes of one register. Loop
vectorisers give up on rotates, byte masks and transposition, so the hashes are written
once over `Lanes`, a value that emits LLVM vector instructions while Numba compiles.
LLVM legalises them for whatever width the machine has (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils
from numba.np.arrayobj import make_array

from winnow.numeric.compiled import compiled

#: Strings hashed side by side; spans are padded to a multiple of it.
LANES = 16

#: Bytes taken from every string at a time; texts need this much slack at their end.
BLOCK = 64

WORDS = BLOCK // 4

_BYTE, _WORD, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)


@compiled
def longest_of(lengths: npt.NDArray[np.int32], first: int) -> int:
    """Return the length of the longest of the strings from `first` on, one per lane."""
    # Not `max()`: machine code that calls Numba's own loads SciPy with it.
    longest = 0
    for length in lengths[first : first + LANES]:
        longest = max(longest, length)
    return longest


class Lanes:
    """A vector of unsigned integers that wrap around, one per lane."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def like(self, number: int) -> Lanes:
        """Return the same constant in every lane."""
        kind = self.value.type
        return Lanes(self.builder, ir.Constant(kind, [number] * kind.count))

    def splat(self, scalar: Any) -> Lanes:
        """Return a value of the program being compiled in every lane."""
        return Lanes(self.builder, _splat(self.builder, scalar, self.value.type))

    def _right(self, other: Lanes | int) -> Any:
        return (self.like(other) if isinstance(other, int) else other).value

    def _built_in(self, name: str, *values: Any) -> Lanes:
        kind = self.value.type
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(kind, [kind] * len(values)),
            f"llvm.{name}.v{kind.count}i{kind.element.width}",
        )
        return Lanes(self.builder, self.builder.call(function, values))

    def __add__(self, other: Lanes | int) -> Lanes:
        return Lanes(self.builder, self.builder.add(self.value, self._right(other)))

    def __sub__(self, other: Lanes | int) -> Lanes:
        return Lanes(self.builder, self.builder.sub(self.value, self._right(other)))

    def __mul__(self, other: Lanes | int) -> Lanes:
        return Lanes(self.builder, self.builder.mul(self.value, self._right(other)))

    def __xor__(self, other: Lanes | int) -> Lanes:
        return Lanes(self.builder, self.builder.xor(self.value, self._right(other)))

    def __and__(self, other: Lanes | int) -> Lanes:
        return Lanes(self.builder, self.builder.and_(self.value, self._right(other)))

    def __or__(self, other: Lanes | int) -> Lanes:
        return Lanes(self.builder, self.builder.or_(self.value, self._right(other)))

    def __rshift__(self, bits: int) -> Lanes:
        return Lanes(self.builder, self.builder.lshr(self.value, self._right(bits)))

    def __lshift__(self, bits: int) -> Lanes:
        return Lanes(self.builder, self.builder.shl(self.value, self._right(bits)))

    def rotl(self, bits: int) -> Lanes:
        """Rotate every lane to the left."""
        return self._built_in("fshl", self.value, self.value, self._right(bits))

    def at_least(self, other: Lanes | int) -> Any:
        """Return a mask of the lanes whose signed value is not below `other`."""
        return self.builder.icmp_signed(">=", self.value, self._right(other))

    def below(self, other: Lanes | int) -> Any:
        """Return a mask of the lanes whose unsigned value is below `other`."""
        return self.builder.icmp_unsigned("<", self.value, self._right(other))

    def equals(self, other: Lanes | int) -> Any:
        """Return a mask of the lanes that equal `other`."""
        return self.builder.icmp_signed("==", self.value, self._right(other))

    def where(self, mask: Any, other: Lanes) -> Lanes:
        """Take `self` in the lanes of `mask` and `other` elsewhere."""
        return Lanes(self.builder, self.builder.select(mask, self.value, other.value))

    def bytes_reversed(self) -> Lanes:
        """Swap the byte order of every lane."""
        return self._built_in("bswap", self.value)

    def widened(self) -> Lanes:
        """Return the lanes as 64-bit integers."""
        wide = ir.VectorType(_LONG, self.value.type.count)
        return Lanes(self.builder, self.builder.zext(self.value, wide))


def data_of(
    context: Any, builder: Any, signature: Any, values: Any, argument: int
) -> Any:
    """Return the pointer to the elements of an array that an intrinsic was given."""
    kind = make_array(signature.args[argument])
    return kind(context, builder, values[argument]).data


def spans_of(context: Any, builder: Any, signature: Any, values: Any) -> list[Any]:
    """Return the pointers of an intrinsic's first argument (text, offsets, lengths)."""
    arrays = cgutils.unpack_tuple(builder, values[0], 3)
    kinds = signature.args[0].types
    return [
        make_array(kind)(context, builder, array).data
        for kind, array in zip(kinds, arrays, strict=True)
    ]


def load(
    builder: Any, data: Any, index: Any, width: int = 32, count: int = LANES
) -> Lanes:
    """Read `count` integers of `width` bits from element `index` of `data` on."""
    vector = ir.VectorType(ir.IntType(width), count)
    pointer = builder.bitcast(builder.gep(data, [index]), vector.as_pointer())
    value = builder.load(pointer)
    value.align = width // 8
    return Lanes(builder, value)


def store(lanes: Lanes, data: Any, index: Any) -> None:
    """Write all lanes from element `index` of `data` on."""
    kind = lanes.value.type
    pointer = lanes.builder.bitcast(lanes.builder.gep(data, [index]), kind.as_pointer())
    lanes.builder.store(lanes.value, pointer).align = kind.element.width // 8


def load_blocks(
    builder: Any, text: Any, offsets: Lanes, remaining: Lanes, end_mark: int | None
) -> list[Lanes]:
    """Read the next 64 bytes of sixteen strings as sixteen little-endian words.

    `offsets` and `remaining` say per lane where the block starts in `text` and how
    many bytes of the string are left (zero or less: none). Bytes past the end are
    zero, but for the first one, which is `end_mark` where one is given. Word `i` of
    the result holds bytes 4i … 4i+3 of every string: a 16 × 16 transposition.
    """
    bytes_ = ir.VectorType(_BYTE, BLOCK)
    position = ir.Constant(bytes_, list(range(BLOCK)))
    zero = ir.Constant(bytes_, [0] * BLOCK)
    # An index of -1 … 64 fits a signed byte, where masks cost one instruction.
    left = remaining.where(remaining.at_least(-1), remaining.like(-1))
    left = left.like(BLOCK).where(left.at_least(BLOCK), left)
    safe = offsets.where(remaining.at_least(1), offsets.like(0))
    rows = []
    for lane in range(LANES):
        index = ir.Constant(_WORD, lane)
        start = builder.sext(builder.extract_element(safe.value, index), _LONG)
        pointer = builder.bitcast(builder.gep(text, [start]), bytes_.as_pointer())
        row = builder.load(pointer)
        row.align = 1
        count = builder.trunc(builder.extract_element(left.value, index), _BYTE)
        end = _splat(builder, count, bytes_)
        beyond = zero
        if end_mark is not None:
            mark = ir.Constant(bytes_, [end_mark] * BLOCK)
            beyond = builder.select(
                builder.icmp_signed("==", position, end), mark, zero
            )
        row = builder.select(builder.icmp_signed("<", position, end), row, beyond)
        rows.append(builder.bitcast(row, ir.VectorType(_WORD, WORDS)))
    return [Lanes(builder, row) for row in _transposed(builder, rows)]


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_WORD, 0)
    )
    everywhere = ir.Constant(ir.VectorType(_WORD, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, first, everywhere)


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose a square of words by exchanging ever larger off-diagonal blocks."""
    size = len(rows)
    mask = ir.VectorType(_WORD, size)
    step = 1
    while step < size:
        # Columns of the pair's second row count from `size` on.
        upper = [j if not j & step else size + j - step for j in range(size)]
        lower = [j + step if not j & step else size + j for j in range(size)]
        for i in (i for i in range(size) if not i & step):
            pair = rows[i], rows[i + step]
            rows[i] = builder.shuffle_vector(*pair, ir.Constant(mask, upper))
            rows[i + step] = builder.shuffle_vector(*pair, ir.Constant(mask, lower))
        step *= 2
    return rows
