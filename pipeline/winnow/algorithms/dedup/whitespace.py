"""ASCII whitespace found and squeezed 64 bytes at a time.

Bytes of a block become bits of one number, so runs, borders and the places of words
are shifts and counts instead of a branch per byte (the technique of G. Langdale and
D. Lemire, "Parsing Gigabytes of JSON per Second", VLDB Journal 2019, section 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types, uint64
from numba.core import cgutils
from numba.extending import intrinsic

from winnow.algorithms.dedup.lanes import BLOCK, Lanes, data_of, load, store
from winnow.numeric.compiled import compiled

SPACE = 0x20

_BITS = ir.IntType(BLOCK)
_FLAGS = ir.VectorType(ir.IntType(1), BLOCK)


def _white(block: Lanes) -> Any:
    """Return the mask of `str.isspace` below 128: 9 … 13, 28 … 31 and the space."""
    controls = (block - 9).below(5)
    separators = (block - 28).below(4)
    builder = block.builder
    return builder.or_(builder.or_(controls, separators), block.equals(SPACE))


def _valid(builder: Any, left: Any) -> tuple[Any, Any]:
    """Return how many bytes of a block are the row's, and the mask of them."""
    full = builder.icmp_signed(">=", left, _BITS(BLOCK))
    some = builder.sub(builder.shl(_BITS(1), left), _BITS(1))
    return (
        builder.select(full, _BITS(BLOCK), left),
        builder.select(full, _BITS(-1), some),
    )


@intrinsic
def _squeeze_block(typing: Any, source: Any, places: Any, out: Any) -> Any:
    """Copy a block of `source` to `out` without whitespace that follows whitespace.

    `places` are where it starts in `source`, how many bytes of the row are left, where
    it goes in `out`, and 1 if the byte before was white. Returns how many bytes it came
    to (plus 2 · BLOCK if the last one read was white), and which of them are spaces as
    the bits of a number, the first byte lowest.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, out = (data_of(context, builder, signature, values, i) for i in (0, 2))
        first, left, out_start, carry = cgutils.unpack_tuple(builder, values[1], 4)
        block = load(builder, source, first, 8, BLOCK)
        flags = _white(block)
        size, valid = _valid(builder, left)
        white = builder.and_(builder.bitcast(flags, _BITS), valid)
        before = builder.or_(builder.shl(white, _BITS(1)), carry)
        keep = builder.and_(valid, builder.not_(builder.and_(white, before)))
        kept = _compressed(block.like(SPACE).where(flags, block), keep)
        store(kept, out, out_start)
        count = builder.ctpop(keep)
        last = builder.lshr(white, builder.sub(size, _BITS(1)))
        last = builder.shl(builder.and_(last, _BITS(1)), _BITS(7))
        spaces = builder.bitcast(kept.equals(SPACE), _BITS)
        spaces = builder.and_(spaces, _valid(builder, count)[1])
        answer = builder.add(count, last), spaces
        return context.make_tuple(builder, signature.return_type, answer)

    answer = types.Tuple((types.int64, types.uint64))
    return answer(source, types.UniTuple(types.int64, 4), out), generate


def _compressed(block: Lanes, keep: Any) -> Lanes:
    """Move the bytes whose bit is set to the front, zeros behind them."""
    builder, kind = block.builder, block.value.type
    compress = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(kind, [kind, _FLAGS, kind]),
        f"llvm.experimental.vector.compress.v{BLOCK}i8",
    )
    chosen = builder.bitcast(keep, _FLAGS)
    zero = block.like(0).value
    return Lanes(builder, builder.call(compress, (block.value, chosen, zero)))


@intrinsic
def _lowest(typing: Any, bits: Any) -> Any:
    """Return the place of the lowest bit of a number other than 0."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


@compiled
def squeeze(
    source: npt.NDArray[np.uint8],
    start: int,
    end: int,
    out: npt.NDArray[np.uint8],
    written: int,
    words: npt.NDArray[np.int32],
) -> tuple[int, int]:
    """Copy `source[start:end]` to `out[written:]`, its words joined by one space each.

    Words are divided by ASCII whitespace. Notes where they start in `words`, and where
    one more would. Returns the end in `out` and the number of words. Both texts go on
    for BLOCK bytes after their ends.
    """
    begin, white = written, 1
    words[0] = written
    count = uint64(1)
    for first in range(start, end, BLOCK):
        moved, spaces = _squeeze_block(
            source, (first, end - first, written, white), out
        )
        after = uint64(written) + uint64(1)
        while spaces:
            words[count] = after + _lowest(spaces)
            count += uint64(1)
            spaces &= spaces - uint64(1)
        written += moved & (2 * BLOCK - 1)
        white = moved >> 7
    if written == begin:
        return written, 0
    if white:
        # The space at the end has noted the start of the word after the last.
        return written - 1, int(count) - 1
    words[count] = written + 1
    return written, int(count)
